#include "simulator/world/kubeconfig.h"

#include "base/core/bytes.h"
#include "base/core/file.h"
#include "base/data/json.h"
#include "base/data/yaml.h"

namespace thinsnap::world {
namespace {

constexpr char kExtension[] = "thinsnap-sim";

}  // namespace

Result<std::string> NameDataFolder(const std::string& kubeconfig_yaml,
                                   const std::string& data_folder) {
  Json config = TRY(ParseYaml(kubeconfig_yaml));
  JsonArray extensions;
  extensions.push_back(
      JsonObject{{"name", kExtension}, {"extension", JsonObject{{"data", data_folder}}}});
  Set(config, "extensions", std::move(extensions));
  return ToYaml(config);
}

Result<std::string> FindDataFolder(const std::string& kubeconfig_path) {
  const std::string text = TRY(ReadFile(kubeconfig_path, kMiB));
  const Json config = TRY(ParseYaml(text).In(kubeconfig_path));
  for (const Json& item : ArrayAt(config, "extensions")) {
    if (StringAt(item, "name") == kExtension) return StringAt(item, "extension.data");
  }
  return Error(Code::kFailedPrecondition,
               kubeconfig_path +
                   " was not written by `thinsnap-sim up`; name the cluster's folder with --data");
}

}  // namespace thinsnap::world
