// The kubectls of this machine, one of each version: those of THINSNAP_KUBECTLS (paths with colons
// between), else the one on PATH with its neighbours, and the old one of build/deps.
#pragma once

#include <map>
#include <ostream>
#include <sstream>
#include <string>
#include <vector>

#include "base/core/command.h"
#include "base/data/json.h"

namespace thinsnap {

struct KubectlClient {
  std::string path, version;  // "v1.33.1"
};

inline void PrintTo(const KubectlClient& client, std::ostream* to) { *to << client.path; }

inline constexpr const char* kFindKubectls = R"sh(
if [ -n "${THINSNAP_KUBECTLS:-}" ]; then
  echo "$THINSNAP_KUBECTLS" | tr : '\n'
  exit
fi
for each in "$(command -v kubectl)" "$1"; do
  [ -x "$each" ] || continue
  echo "$each"
  ls "$(dirname "$(readlink -f "$each")")"/kubectl.1.[0-9][0-9] 2>/dev/null
done
true
)sh";

inline std::vector<KubectlClient> FindKubectls(const std::string& build_folder) {
  PosixCommandRunner runner;
  const auto found = runner.Run({.argv = {"sh", "-c", kFindKubectls, "sh",
                                          build_folder + "/../deps/kubectl-old/usr/bin/kubectl"},
                                 .env = {},
                                 .input = ""});
  std::map<std::string, std::string> by_version;
  std::istringstream lines(found.ok() ? found->out : "");
  for (std::string path; std::getline(lines, path);) {
    const auto version =
        runner.Run({.argv = {path, "version", "--client", "-o", "json"}, .env = {}, .input = ""});
    const auto parsed = version.ok() ? ParseJson(version->out) : Result<Json>(Json());
    if (!parsed.ok()) continue;
    const std::string name = StringAt(*parsed, "clientVersion.gitVersion");
    if (!name.empty()) by_version.emplace(name, path);
  }
  std::vector<KubectlClient> all;
  for (const auto& [version, path] : by_version) all.push_back({path, version});
  if (all.empty()) all.push_back({"", "none"});
  return all;
}

}  // namespace thinsnap
