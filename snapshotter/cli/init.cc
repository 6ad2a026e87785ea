#include "base/data/json.h"
#include "snapshotter/cli/commands.h"

namespace thinsnap::cli {

Status RunInit(Context& context, const InitCommand& command) {
  repo::InitOptions options;
  options.passphrase = command.passphrase;
  options.kdf = command.kdf;
  const auto made =
      TRY(repo::InitRepository(context.store, context.runtime, context.random, options));
  const bool sealed = made->suite() == repo::Suite::kSealed;
  context.console.Say("repository " + made->id().str() + " made in " + context.store.Describe());
  context.console.Say(
      sealed ? "It is sealed: without the passphrase nothing in it can be read, by anyone."
             : "It is plain: whoever can read the store can read what is backed up.");
  context.console.Result(JsonObject{{"repository", made->id().str()},
                                    {"suite", sealed ? "sealed" : "plain"},
                                    {"store", context.store.Describe()}});
  return {};
}

}  // namespace thinsnap::cli
