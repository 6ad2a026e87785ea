#include "simulator/world/kubeconfig.h"

#include <filesystem>
#include <system_error>

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

Status WriteKubeconfig(const std::string& path, const std::string& kubeconfig_yaml) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::file_type type = fs::status(path, error).type();
  if (type == fs::file_type::not_found) {
    const fs::path parent = fs::path(path).parent_path();
    if (fs::is_symlink(path, error)) {
      return Error(Code::kInvalidArgument, path + " is a link to nothing; a file is accepted");
    }
    if (!fs::is_directory(parent, error))
      return Error(Code::kNotFound, path + ": there is no folder " + parent.string());
    return WriteFileAtomic(path, kubeconfig_yaml, 0600, kMissing | kForbidden);
  }
  if (type != fs::file_type::regular)
    return Error(Code::kInvalidArgument, path + " is no file; a file is accepted");
  if (fs::file_size(path, error) != 0 && !FindDataFolder(path).ok()) {
    return Error(Code::kFailedPrecondition,
                 path +
                     " was not written by `thinsnap-sim up` and is not replaced: other clusters "
                     "may be in it; another file is accepted");
  }
  return WriteFileAtomic(fs::canonical(path, error), kubeconfig_yaml, 0600, kMissing | kForbidden);
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
