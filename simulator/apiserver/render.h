// Renderer: an object in the shape a client asked for: itself, a Table, or its metadata alone.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/core/guarded.h"
#include "simulator/objects/table.h"
#include "simulator/registry/registry.h"
#include "simulator/registry/watch.h"

namespace thinsnap::apiserver {

enum class Shape : std::uint8_t { kFull, kTable, kMetadata };

// What the Accept header and the query ask for.
struct View {
  Shape shape = Shape::kFull;
  std::string table_version = "v1";  // of meta.k8s.io
  objects::IncludeObject include = objects::IncludeObject::kMetadata;
  bool yaml = false;
};

// Thread-safe.
class Renderer {
 public:
  Renderer(const registry::Registry& registry, registry::Target target, View view)
      : registry_(registry), target_(std::move(target)), view_(std::move(view)) {}

  // JSON text.
  std::string Object(const objects::StoredObject& object) const;
  std::string List(const registry::ListPage& page) const;
  // An object that was just written, or a Status.
  std::string Answer(const Json& object) const;

  // One line of a watch. `first`: with column definitions, if it is a Table.
  std::string Event(registry::WatchEventType type, const objects::StoredObject& object,
                    bool first) const;
  std::string Bookmark(objects::Revision revision, bool initial_events_end) const;
  static std::string ErrorEvent(const schema::ApiError& error);

  // Watches of the same view share their lines.
  std::string CacheKey() const;
  const View& view() const { return view_; }

 private:
  Json Row(const Json& object) const;

  const registry::Registry& registry_;
  const registry::Target target_;
  const View view_;
};

// A Scale as a Table, whatever it is the scale of.
Json ScaleTable(const Json& scale, const View& view, WallTime now);

// The lines of the latest event, made once for all watches that show it alike. Thread-safe.
class LineCache {
 public:
  std::shared_ptr<const std::string> Line(const Renderer& renderer, registry::WatchEventType type,
                                          const objects::ObjectRef& object, bool first);

 private:
  std::mutex mutex_;
  objects::ObjectRef object_ GUARDED_BY(mutex_);
  std::vector<std::pair<std::string, std::shared_ptr<const std::string>>> lines_ GUARDED_BY(mutex_);
};

}  // namespace thinsnap::apiserver
