#include "snapshotter/repo/repository_file.h"

#include <array>
#include <utility>

#include "base/data/json.h"

namespace thinsnap::repo {
namespace {

constexpr std::array<std::pair<std::string_view, std::int64_t>, 4> kSizes = {{
    {"blockBytes", kBlockBytes},
    {"recordBlocks", kRecordBlocks},
    {"packBytes", kPackTargetBytes},
    {"mapFanOut", kFanOut},
}};

std::string_view SuiteName(Suite suite) { return suite == Suite::kSealed ? "sealed" : "plain"; }

// The MAC covers every value, one to a line, in this order.
std::string MacText(const RepositoryFile& file) {
  std::string text = "format=" + std::to_string(file.header.format) +
                     "\nid=" + file.header.id.str() +
                     "\nsuite=" + std::string(SuiteName(file.header.suite));
  for (const auto& [name, value] : kSizes) {
    text += "\n" + std::string(name) + "=" + std::to_string(value);
  }
  return text + "\nslot=" + file.slot + "\ncreated=" + file.created + "\n";
}

bool IsName(std::string_view text) {
  if (text.size() != 26) return false;
  for (const char c : text) {
    if ((c < 'a' || c > 'z') && (c < '0' || c > '9')) return false;
  }
  return true;
}

Error Damaged(const std::string& what) {
  return Error(Code::kDataLoss, "repo.json is damaged: " + what);
}

}  // namespace

std::string EncodeRepositoryFile(const Keyring& keyring, const std::string& slot,
                                 WallTime created) {
  RepositoryFile file;
  file.header = {keyring.id(), keyring.suite(), kFormatVersion};
  file.slot = slot;
  file.created = FormatRfc3339(created);
  JsonObject json;
  json["format"] = kFormatVersion;
  json["id"] = keyring.id().str();
  json["suite"] = SuiteName(keyring.suite());
  for (const auto& [name, value] : kSizes) json[name] = value;
  json["slot"] = slot;
  json["created"] = file.created;
  json["mac"] = Base64Encode(keyring.Authenticate("repo.json", MacText(file)));
  return ToPrettyJson(json);
}

Result<RepositoryFile> ParseRepositoryFile(std::string_view text) {
  auto parsed = ParseJson(text);
  if (!parsed.ok()) return Damaged(parsed.error().message());
  const Json& json = *parsed;
  RepositoryFile file;
  const std::int64_t format = IntAt(json, "format");
  if (format < 1) return Damaged("it has no format version");
  if (format != kFormatVersion) {
    return Error(Code::kFailedPrecondition, "repo.json says format " + std::to_string(format) +
                                                "; this program reads format " +
                                                std::to_string(kFormatVersion));
  }
  file.header.format = static_cast<int>(format);
  const std::string id = StringAt(json, "id");
  if (!IsName(id)) return Damaged("its id is not 26 letters and digits");
  file.header.id = RepositoryId(id);
  const std::string suite = StringAt(json, "suite");
  if (suite != "plain" && suite != "sealed") {
    return Damaged("its suite is \"" + suite + "\"; plain and sealed are known");
  }
  file.header.suite = suite == "sealed" ? Suite::kSealed : Suite::kPlain;
  for (const auto& [name, value] : kSizes) {
    if (IntAt(json, name) == value) continue;
    return Error(Code::kFailedPrecondition, "repo.json says that " + std::string(name) + " is " +
                                                std::to_string(IntAt(json, name)) +
                                                "; this program knows " + std::to_string(value));
  }
  for (const char* member : {"slot", "created", "mac"}) {
    if (Find(json, member) == nullptr) return Damaged("it has no " + std::string(member));
  }
  file.slot = StringAt(json, "slot");
  if (file.header.suite == Suite::kSealed && !IsName(file.slot)) {
    return Damaged("it names no key slot");
  }
  file.created = StringAt(json, "created");
  file.mac = StringAt(json, "mac");
  return file;
}

Status CheckRepositoryMac(const Keyring& keyring, const RepositoryFile& file) {
  const auto mac = Base64Decode(file.mac);
  if (mac.ok() && EqualInConstantTime(*mac, keyring.Authenticate("repo.json", MacText(file)))) {
    return {};
  }
  return Damaged("its MAC does not fit what it says");
}

}  // namespace thinsnap::repo
