// A bare API server for trying things by hand: serve [data folder] writes the kubeconfig to stdout
// and serves until it is told to end.
#include <csignal>
#include <cstdio>
#include <iostream>

#include "base/core/random.h"
#include "base/core/runtime.h"
#include "simulator/apiserver/api_server.h"

int main(int argc, char** argv) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  thinsnap::SystemClock clock;
  thinsnap::ThreadRuntime runtime(clock);
  thinsnap::SystemRandom random;
  thinsnap::apiserver::Options options;
  if (argc > 1) options.data_folder = argv[1];
  auto server = thinsnap::apiserver::ApiServer::Start(runtime, random, options);
  if (!server.ok()) {
    std::cerr << server.error().ToString() << "\n";
    return 1;
  }
  std::cout << (*server)->Kubeconfig().ValueOr("") << std::flush;
  // The reader of a pipe sees the end of the kubeconfig.
  std::fclose(stdout);
  int signal = 0;
  sigwait(&signals, &signal);
  (*server)->Stop();
  return 0;
}
