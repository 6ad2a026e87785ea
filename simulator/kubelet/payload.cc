#include "simulator/kubelet/payload.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <optional>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "base/core/bytes.h"
#include "base/core/file.h"
#include "base/data/json.h"
#include "simulator/containers/environment.h"
#include "simulator/kubelet/fs_group.h"

namespace thinsnap::kubelet {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kDefaultMode = 0644;

// The API server refuses such paths too; this is what keeps a file inside its volume.
Status CheckRelative(const std::string& path) {
  const fs::path as_path(path);
  const bool climbs = std::any_of(as_path.begin(), as_path.end(),
                                  [](const fs::path& part) { return part == ".."; });
  if (path.empty() || as_path.is_absolute() || climbs) {
    return Error(Code::kInvalidArgument, "path '" + path + "' must be relative and without '..'");
  }
  return {};
}

// A configMap or secret source, of a volume or inside a projected one.
Status AddKeys(const Json& source, const std::string& name, bool secret, std::int64_t mode,
               const PayloadSources& sources, Payload* payload) {
  const std::string what = std::string(secret ? "secret " : "configmap ") + name;
  const bool optional = BoolAt(source, "optional");
  Result<Json> object = secret ? sources.secret(name) : sources.config_map(name);
  if (object.Is(Code::kNotFound)) {
    if (optional) return {};
    return Error(Code::kNotFound, what + " does not exist");
  }
  if (!object.ok()) return std::move(object).error().In(what);
  std::map<std::string, std::string> content = TRY(ContentOf(*object, secret).In(what));
  const JsonArray& items = ArrayAt(source, "items");
  if (items.empty()) {
    for (auto& [key, text] : content)
      (*payload)[key] = {std::move(text), static_cast<unsigned>(mode)};
    return {};
  }
  for (const Json& item : items) {
    const std::string key = StringAt(item, "key");
    const auto it = content.find(key);
    if (it == content.end()) {
      if (optional) continue;
      return Error(Code::kNotFound, what + " has no key " + key);
    }
    (*payload)[StringAt(item, "path")] = {it->second,
                                          static_cast<unsigned>(IntAt(item, "mode", mode))};
  }
  return {};
}

Status AddDownward(const Json& pod, const Json& source, std::int64_t mode, Payload* payload) {
  for (const Json& item : ArrayAt(source, "items")) {
    const std::string path = StringAt(item, "path");
    Result<std::string> text = std::string();
    if (const Json* field = Find(item, "fieldRef")) {
      text = containers::PodField(pod, StringAt(*field, "fieldPath"));
    } else if (const Json* resource = Find(item, "resourceFieldRef")) {
      text = containers::ContainerResource(pod, StringAt(*resource, "containerName"),
                                           StringAt(*resource, "resource"),
                                           StringAt(*resource, "divisor"));
    }
    if (!text.ok()) return std::move(text).error().In("downward API item " + path);
    (*payload)[path] = {std::move(*text), static_cast<unsigned>(IntAt(item, "mode", mode))};
  }
  return {};
}

Status AddProjected(const Json& pod, const Json& projected, const PayloadSources& sources,
                    Payload* payload) {
  const std::int64_t mode = IntAt(projected, "defaultMode", kDefaultMode);
  for (const Json& source : ArrayAt(projected, "sources")) {
    if (const Json* secret = Find(source, "secret")) {
      TRY(AddKeys(*secret, StringAt(*secret, "name"), true, mode, sources, payload));
    } else if (const Json* config_map = Find(source, "configMap")) {
      TRY(AddKeys(*config_map, StringAt(*config_map, "name"), false, mode, sources, payload));
    } else if (const Json* downward = Find(source, "downwardAPI")) {
      TRY(AddDownward(pod, *downward, mode, payload));
    } else if (const Json* token = Find(source, "serviceAccountToken")) {
      std::string text = TRY(
          sources.token(StringAt(*token, "audience"), IntAt(*token, "expirationSeconds", 3600)));
      // Readable for the pod's own user, whoever that is.
      (*payload)[StringAt(*token, "path")] = {std::move(text), 0644};
    }
  }
  return {};
}

std::optional<std::string> ReadIfThere(const std::string& path) {
  Result<std::string> content = ReadFile(path);
  if (!content.ok()) return std::nullopt;
  return std::move(*content);
}

bool Differs(const std::string& folder, const Payload& payload) {
  const std::string data = folder + "/..data";
  std::error_code code;
  if (!fs::exists(data, code)) return true;
  std::size_t files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(data + "/", code)) {
    if (entry.is_regular_file(code)) ++files;
  }
  if (files != payload.size()) return true;
  return std::any_of(payload.begin(), payload.end(), [&](const auto& item) {
    return ReadIfThere(data + "/" + item.first) != item.second.content;
  });
}

}  // namespace

Result<std::map<std::string, std::string>> ContentOf(const Json& object, bool secret) {
  std::map<std::string, std::string> content;
  for (const char* field : {"data", "binaryData"}) {
    for (const auto& [key, value] : ObjectAt(object, field)) {
      if (!value.is_string()) continue;
      std::string text(value.get_string());
      if (secret || std::string_view(field) == "binaryData") {
        const Bytes bytes = TRY(Base64Decode(text));
        text = std::string(AsText(bytes));
      }
      content[std::string(key)] = std::move(text);
    }
  }
  return content;
}

bool HasPayload(const Json& volume) {
  return Find(volume, "configMap") != nullptr || Find(volume, "secret") != nullptr ||
         Find(volume, "downwardAPI") != nullptr || Find(volume, "projected") != nullptr;
}

Result<Payload> BuildPayload(const Json& pod, const Json& volume, const PayloadSources& sources) {
  Payload payload;
  if (const Json* config_map = Find(volume, "configMap")) {
    TRY(AddKeys(*config_map, StringAt(*config_map, "name"), false,
                IntAt(*config_map, "defaultMode", kDefaultMode), sources, &payload));
  } else if (const Json* secret = Find(volume, "secret")) {
    TRY(AddKeys(*secret, StringAt(*secret, "secretName"), true,
                IntAt(*secret, "defaultMode", kDefaultMode), sources, &payload));
  } else if (const Json* downward = Find(volume, "downwardAPI")) {
    TRY(AddDownward(pod, *downward, IntAt(*downward, "defaultMode", kDefaultMode), &payload));
  } else if (const Json* projected = Find(volume, "projected")) {
    TRY(AddProjected(pod, *projected, sources, &payload));
  }
  for (const auto& [path, file] : payload) TRY(CheckRelative(path));
  return payload;
}

Status WritePayload(const std::string& folder, const Payload& payload, WallTime now,
                    std::optional<std::int64_t> group) {
  TRY(MakeFolders(folder));
  if (!Differs(folder, payload)) return {};
  std::error_code code;
  const std::string version = ".." + std::to_string(now.time_since_epoch().count());
  const std::string fresh = folder + "/" + version;
  TRY(MakeFolders(fresh));
  for (const auto& [path, file] : payload) {
    const std::string target = fresh + "/" + path;
    TRY(MakeFolders(fs::path(target).parent_path().string()));
    UniqueFd fd(open(target.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!fd) return ErrnoError(errno, "write " + path);
    if (write(fd.get(), file.content.data(), file.content.size()) !=
        static_cast<ssize_t>(file.content.size())) {
      return ErrnoError(ENOSPC, "write " + path);
    }
    fchmod(fd.get(), file.mode);
  }
  // Of what is read only, a pod's group gets to read everything.
  if (group) TRY(GiveToGroup(folder, *group, 0440));
  const std::string old = fs::read_symlink(folder + "/..data", code).string();
  fs::remove(folder + "/..data_tmp", code);
  fs::create_symlink(version, folder + "/..data_tmp", code);
  if (rename((folder + "/..data_tmp").c_str(), (folder + "/..data").c_str()) != 0) {
    return ErrnoError(errno, "switch to the new files of " + folder);
  }
  // What users see are links through ..data, one for each first part of a path.
  for (const auto& [path, file] : payload) {
    const std::string first = path.substr(0, path.find('/'));
    fs::create_symlink("..data/" + first, folder + "/" + first, code);
  }
  for (const auto& entry : fs::directory_iterator(folder, code)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("..")) continue;
    const bool wanted = std::any_of(payload.begin(), payload.end(), [&](const auto& item) {
      return item.first.substr(0, item.first.find('/')) == name;
    });
    std::error_code ignored;
    if (!wanted) fs::remove(entry.path(), ignored);
  }
  if (!old.empty()) fs::remove_all(folder + "/" + old, code);
  return {};
}

}  // namespace thinsnap::kubelet
