#include "simulator/objects/patch.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>
#include <vector>

namespace thinsnap::objects {
namespace {

constexpr std::size_t kMaxOperations = 10000;

schema::ApiError Unprocessable(const std::string& why) {
  return schema::ApiError(422, "Invalid", "the JSON patch cannot be applied: " + why);
}

std::vector<std::string> SplitPointer(std::string_view pointer) {
  std::vector<std::string> steps;
  while (!pointer.empty()) {
    pointer.remove_prefix(1);
    const auto end = std::min(pointer.find('/'), pointer.size());
    std::string step;
    for (std::size_t i = 0; i < end; ++i) {
      if (pointer[i] == '~' && i + 1 < end && (pointer[i + 1] == '0' || pointer[i + 1] == '1')) {
        step += pointer[++i] == '0' ? '~' : '/';
      } else {
        step += pointer[i];
      }
    }
    steps.push_back(std::move(step));
    pointer.remove_prefix(end);
  }
  return steps;
}

// Negative indices count from the end, as the server's library has it.
std::optional<std::size_t> Index(const std::string& step, std::size_t size) {
  std::int64_t index = 0;
  const auto [end, status] = std::from_chars(step.data(), step.data() + step.size(), index);
  if (status != std::errc() || end != step.data() + step.size()) return std::nullopt;
  if (index < 0) index += static_cast<std::int64_t>(size);
  if (index < 0 || static_cast<std::uint64_t>(index) > size) return std::nullopt;
  return static_cast<std::size_t>(index);
}

Json* Step(Json& at, const std::string& step) {
  if (auto* object = at.if_object()) return object->if_contains(step);
  if (auto* array = at.if_array()) {
    const auto index = Index(step, array->size());
    if (index && *index < array->size()) return &(*array)[*index];
  }
  return nullptr;
}

// The value that holds the last step; null if the way to it is not there.
Json* Parent(Json& root, const std::vector<std::string>& steps) {
  Json* at = &root;
  for (std::size_t i = 0; at != nullptr && i + 1 < steps.size(); ++i) at = Step(*at, steps[i]);
  return at;
}

class JsonPatch {
 public:
  explicit JsonPatch(Json object) : root_(std::move(object)) {}

  schema::ApiStatus Apply(const Json& operation) {
    const std::string op = StringAt(operation, "op");
    const Json* path = operation.is_object() ? operation.as_object().if_contains("path") : nullptr;
    if (path == nullptr || !path->is_string()) return Unprocessable("an operation has no path");
    path_ = path->as_string();
    if (!path_.empty() && path_[0] != '/')
      return Unprocessable("path '" + path_ + "' does not begin with '/'");
    const auto steps = SplitPointer(path_);
    const Json* value = operation.as_object().if_contains("value");
    if (op == "add") return Add(steps, value != nullptr ? *value : Json());
    if (op == "remove") return Remove(steps);
    if (op == "replace") return Replace(steps, value != nullptr ? *value : Json());
    if (op == "test") return Test(steps, value != nullptr ? *value : Json());
    if (op != "move" && op != "copy") {
      return Unprocessable("operation '" + op +
                           "' is not one of add, remove, replace, move, copy and test");
    }
    const auto from = SplitPointer(StringAt(operation, "from"));
    const Json* source = Get(from);
    if (source == nullptr) return Missing(StringAt(operation, "from"));
    Json moved = *source;
    if (op == "move") TRY(Remove(from));
    return Add(steps, std::move(moved));
  }

  Json Take() { return std::move(root_); }

 private:
  static schema::ApiError Missing(const std::string& path) {
    return Unprocessable("there is nothing at '" + path + "'");
  }

  Json* Get(const std::vector<std::string>& steps) {
    if (steps.empty()) return &root_;
    Json* parent = Parent(root_, steps);
    return parent == nullptr ? nullptr : Step(*parent, steps.back());
  }

  schema::ApiStatus Add(const std::vector<std::string>& steps, Json value) {
    if (steps.empty()) {
      root_ = std::move(value);
      return {};
    }
    Json* parent = Parent(root_, steps);
    if (parent == nullptr) return Missing(path_);
    if (auto* object = parent->if_object()) {
      (*object)[steps.back()] = std::move(value);
      return {};
    }
    auto* array = parent->if_array();
    if (array == nullptr) return Missing(path_);
    if (steps.back() == "-") {
      array->push_back(std::move(value));
      return {};
    }
    const auto index = Index(steps.back(), array->size());
    if (!index) return Missing(path_);
    array->insert(array->begin() + static_cast<std::ptrdiff_t>(*index), std::move(value));
    return {};
  }

  schema::ApiStatus Remove(const std::vector<std::string>& steps) {
    Json* parent = steps.empty() ? nullptr : Parent(root_, steps);
    if (parent == nullptr || Step(*parent, steps.back()) == nullptr) return Missing(path_);
    if (auto* object = parent->if_object()) {
      // The order of the others is kept.
      object->stable_erase(steps.back());
      return {};
    }
    auto& array = parent->as_array();
    const auto index = Index(steps.back(), array.size());
    array.erase(array.begin() + static_cast<std::ptrdiff_t>(*index));
    return {};
  }

  // A missing member is added: clients rely on that.
  schema::ApiStatus Replace(const std::vector<std::string>& steps, Json value) {
    if (Json* there = Get(steps)) {
      *there = std::move(value);
      return {};
    }
    Json* parent = Parent(root_, steps);
    if (parent == nullptr || !parent->is_object()) return Missing(path_);
    parent->as_object()[steps.back()] = std::move(value);
    return {};
  }

  schema::ApiStatus Test(const std::vector<std::string>& steps, const Json& value) {
    const Json* there = Get(steps);
    const bool same = there != nullptr ? *there == value : value.is_null();
    if (!same) return Unprocessable("the test of '" + path_ + "' failed");
    return {};
  }

  Json root_;
  std::string path_;
};

void Merge(Json& target, const Json& patch) {
  if (!patch.is_object()) {
    target = patch;
    return;
  }
  if (!target.is_object()) target = JsonObject();
  auto& members = target.as_object();
  for (const auto& member : patch.as_object()) {
    if (member.value().is_null()) {
      members.stable_erase(member.key());
    } else {
      Merge(members[member.key()], member.value());
    }
  }
}

}  // namespace

schema::ApiResult<Json> ApplyJsonPatch(const Json& object, const Json& patch) {
  const auto* operations = patch.if_array();
  if (operations == nullptr)
    return schema::ApiError::BadRequest(
        "error decoding patch: a JSON patch is a list of operations");
  if (operations->size() > kMaxOperations) {
    return schema::ApiError(413, "RequestEntityTooLarge",
                            "The allowed maximum operations in a JSON patch is 10000, got " +
                                std::to_string(operations->size()));
  }
  JsonPatch work(object);
  for (const Json& operation : *operations) TRY(work.Apply(operation));
  return work.Take();
}

schema::ApiResult<Json> ApplyMergePatch(const Json& object, const Json& patch) {
  if (!patch.is_object())
    return schema::ApiError::BadRequest("error decoding patch: a merge patch is an object");
  Json result = object;
  Merge(result, patch);
  return result;
}

}  // namespace thinsnap::objects
