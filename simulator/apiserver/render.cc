#include "simulator/apiserver/render.h"

#include "base/data/json.h"

namespace thinsnap::apiserver {
namespace {

std::string_view EventName(registry::WatchEventType type) {
  switch (type) {
    case registry::WatchEventType::kAdded:
      return "ADDED";
    case registry::WatchEventType::kModified:
      return "MODIFIED";
    case registry::WatchEventType::kDeleted:
      return "DELETED";
  }
  return "";
}

std::string Quoted(std::string_view text) { return ToJson(Json(text)); }

std::string Frame(std::string_view type, std::string_view object) {
  std::string line;
  line.reserve(object.size() + 40);
  line += R"({"type":")";
  line += type;
  line += R"(","object":)";
  line += object;
  line += "}\n";
  return line;
}

// Items of built-in lists do not repeat what the list says. The text begins with
// {"apiVersion":...,"kind":...,
std::string_view WithoutType(std::string_view object, std::string_view prefix) {
  return object.starts_with(prefix) ? object.substr(prefix.size()) : std::string_view();
}

}  // namespace

Json Renderer::Row(const Json& object) const {
  return objects::TableRow(*target_.kind, *target_.version, object, view_.include,
                           registry_.clock().Now());
}

std::string Renderer::Object(const objects::StoredObject& object) const {
  if (view_.shape == Shape::kFull) return registry_.ShowBytes(object, target_);
  return Answer(registry_.Show(object, target_));
}

std::string Renderer::Answer(const Json& object) const {
  if (view_.shape == Shape::kFull || StringAt(object, "kind") == "Status") return ToJson(object);
  if (view_.shape == Shape::kMetadata) return ToJson(objects::PartialMetadata(object));
  Json table = objects::NewTable(*target_.version, StringAt(object, "metadata.resourceVersion"));
  Set(table, "apiVersion", "meta.k8s.io/" + view_.table_version);
  JsonArray rows;
  rows.push_back(Row(object));
  Set(table, "rows", std::move(rows));
  return ToJson(table);
}

Json ScaleTable(const Json& scale, const View& view, WallTime now) {
  schema::KindVersion version;
  version.columns = {{"Name", "string", "name", "Name must be unique within a namespace.", "", 0},
                     {"Desired", "integer", "", "How many are wanted.", "", 0},
                     {"Available", "integer", "", "How many there are.", "", 0},
                     {"Age", "string", "", "Since when it is there.", "", 0}};
  Json table = objects::NewTable(version, StringAt(scale, "metadata.resourceVersion"));
  Set(table, "apiVersion", "meta.k8s.io/" + view.table_version);
  Json row = {{"cells",
               {StringAt(scale, "metadata.name"), IntAt(scale, "spec.replicas"),
                IntAt(scale, "status.replicas"),
                objects::HumanAge(StringAt(scale, "metadata.creationTimestamp"), now)}}};
  if (view.include == objects::IncludeObject::kMetadata)
    row.as_object()["object"] = objects::PartialMetadata(scale);
  if (view.include == objects::IncludeObject::kObject) row.as_object()["object"] = scale;
  Set(table, "rows", JsonArray{std::move(row)});
  return table;
}

std::string Renderer::List(const registry::ListPage& page) const {
  std::string metadata = R"({"resourceVersion":")" + std::to_string(page.revision) + "\"";
  if (!page.continue_token.empty() || target_.kind->custom) {
    metadata += ",\"continue\":" + Quoted(page.continue_token);
  }
  if (page.remaining) metadata += ",\"remainingItemCount\":" + std::to_string(*page.remaining);
  metadata += "}";
  std::string out;
  if (view_.shape == Shape::kTable) {
    Json table = objects::NewTable(*target_.version, "");
    Set(table, "apiVersion", "meta.k8s.io/" + view_.table_version);
    JsonArray rows;
    rows.reserve(page.items.size());
    for (const auto& item : page.items) rows.push_back(Row(registry_.Show(*item, target_)));
    Set(table, "rows", std::move(rows));
    Set(table, "metadata.resourceVersion", std::to_string(page.revision));
    if (!page.continue_token.empty()) Set(table, "metadata.continue", page.continue_token);
    if (page.remaining)
      Set(table, "metadata.remainingItemCount", static_cast<std::int64_t>(*page.remaining));
    return ToJson(table);
  }
  if (view_.shape == Shape::kMetadata) {
    out = R"({"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":)" +
          metadata;
    if (page.items.empty()) return out + ",\"items\":null}";
    out += ",\"items\":[";
    for (std::size_t i = 0; i < page.items.size(); ++i) {
      if (i > 0) out += ',';
      out += ToJson(objects::PartialMetadata(page.items[i]->value()));
    }
    return out + "]}";
  }
  out = R"({"kind":)" + Quoted(target_.kind->list_kind) + R"(,"apiVersion":)" +
        Quoted(target_.api_version()) + R"(,"metadata":)" + metadata + R"(,"items":[)";
  const std::string prefix = R"({"apiVersion":)" + Quoted(target_.api_version()) + R"(,"kind":)" +
                             Quoted(target_.kind->kind) + ",";
  bool first = true;
  for (const auto& item : page.items) {
    if (!first) out += ',';
    first = false;
    std::string converted;
    if (!registry_.ShownAsStored(*item, target_))
      converted = ToJson(registry_.Show(*item, target_));
    const std::string_view bytes =
        converted.empty() ? std::string_view(item->bytes()) : std::string_view(converted);
    const std::string_view rest =
        target_.kind->custom ? std::string_view() : WithoutType(bytes, prefix);
    if (rest.empty()) {
      out += bytes;
    } else {
      out += '{';
      out += rest;
    }
  }
  return out + "]}";
}

std::string Renderer::Event(registry::WatchEventType type, const objects::StoredObject& object,
                            bool first) const {
  if (view_.shape == Shape::kFull) {
    if (registry_.ShownAsStored(object, target_)) return Frame(EventName(type), object.bytes());
    return Frame(EventName(type), registry_.ShowBytes(object, target_));
  }
  const Json shown = registry_.Show(object, target_);
  if (view_.shape == Shape::kMetadata)
    return Frame(EventName(type), ToJson(objects::PartialMetadata(shown)));
  Json table =
      objects::NewTable(*target_.version, StringAt(shown, "metadata.resourceVersion"), first);
  Set(table, "apiVersion", "meta.k8s.io/" + view_.table_version);
  JsonArray rows;
  rows.push_back(Row(shown));
  Set(table, "rows", std::move(rows));
  return Frame(EventName(type), ToJson(table));
}

std::string Renderer::Bookmark(objects::Revision revision, bool initial_events_end) const {
  std::string kind = target_.kind->kind;
  std::string api_version = target_.api_version();
  if (view_.shape == Shape::kMetadata) {
    kind = "PartialObjectMetadata";
    api_version = "meta.k8s.io/v1";
  } else if (view_.shape == Shape::kTable) {
    kind = "Table";
    api_version = "meta.k8s.io/" + view_.table_version;
  }
  JsonObject metadata = {{"resourceVersion", std::to_string(revision)}};
  if (initial_events_end) metadata["annotations"] = {{"k8s.io/initial-events-end", "true"}};
  JsonObject object = {
      {"kind", kind}, {"apiVersion", api_version}, {"metadata", std::move(metadata)}};
  if (view_.shape == Shape::kTable) object["rows"] = JsonArray();
  return Frame("BOOKMARK", ToJson(Json(std::move(object))));
}

std::string Renderer::ErrorEvent(const schema::ApiError& error) {
  return Frame("ERROR", ToJson(error.ToStatus()));
}

std::string Renderer::CacheKey() const {
  return target_.api_version() + "/" + std::to_string(static_cast<int>(view_.shape)) + "/" +
         view_.table_version + "/" + std::to_string(static_cast<int>(view_.include));
}

std::shared_ptr<const std::string> LineCache::Line(const Renderer& renderer,
                                                   registry::WatchEventType type,
                                                   const objects::ObjectRef& object, bool first) {
  const std::string key =
      renderer.CacheKey() + (first ? "f" : "n") + std::to_string(static_cast<int>(type));
  std::lock_guard lock(mutex_);
  if (object_ != object) {
    object_ = object;
    lines_.clear();
  }
  for (const auto& [cached_key, line] : lines_) {
    if (cached_key == key) return line;
  }
  auto line = std::make_shared<const std::string>(renderer.Event(type, *object, first));
  lines_.emplace_back(key, line);
  return line;
}

}  // namespace thinsnap::apiserver
