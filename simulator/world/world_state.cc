#include "simulator/world/world_state.h"

#include "base/core/file.h"
#include "base/data/json.h"

namespace thinsnap::world {
namespace {

// Of what is in a data folder. A program reads its own only: a folder is cheap, a wrong guess is
// not.
constexpr std::int64_t kVersion = 1;

}  // namespace

Result<WorldState> LoadWorldState(const std::string& path, Random& random) {
  const Result<std::string> text = ReadFile(path, kMiB);
  if (text.Is(Code::kNotFound)) {
    WorldState fresh;
    fresh.id = random.NameSuffix(8);
    TRY(SaveWorldState(path, fresh));
    return fresh;
  }
  if (!text.ok()) return text.error();
  const Json json = TRY(ParseJson(*text).In(path));
  WorldState state;
  state.id = StringAt(json, "id");
  const std::int64_t version = IntAt(json, "version", kVersion);
  if (version != kVersion) {
    return Error(Code::kFailedPrecondition,
                 path + " is of version " + std::to_string(version) +
                     ", and this thinsnap-sim understands version " + std::to_string(kVersion) +
                     " only: use the thinsnap-sim that made the folder, or another folder");
  }
  if (state.id.empty()) return Error(Code::kDataLoss, path + " has no member id");
  for (const Json& name : ArrayAt(json, "destroyed")) {
    if (name.is_string()) state.destroyed.emplace(name.get_string());
  }
  return state;
}

Status SaveWorldState(const std::string& path, const WorldState& state) {
  JsonArray destroyed;
  for (const std::string& name : state.destroyed) destroyed.emplace_back(name);
  return WriteFileAtomic(
      path, ToPrettyJson(JsonObject{
                {"version", kVersion}, {"id", state.id}, {"destroyed", std::move(destroyed)}}));
}

std::vector<std::string> NodeNames(int count, const WorldState& state) {
  std::vector<std::string> names;
  for (int number = 1; number <= count; ++number) {
    const std::string name = "node-" + std::to_string(number);
    if (!state.destroyed.contains(name)) names.push_back(name);
  }
  return names;
}

}  // namespace thinsnap::world
