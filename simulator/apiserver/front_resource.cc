// The verbs of the front: from a request's query and body to the registry and back.
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "base/core/guarded.h"
#include "simulator/apiserver/front.h"

namespace thinsnap::apiserver {

using schema::BodyFormat;

namespace {

constexpr std::string_view kDeleteOptions = "k8s.io.apimachinery.pkg.apis.meta.v1.DeleteOptions";
constexpr std::string_view kScale = "k8s.io.api.autoscaling.v1.Scale";

net::ServerResponse JsonText(int status, std::string body) {
  return net::ServerResponse::Text(status, std::move(body), "application/json");
}

// A watch's stream. What comes before the stream is there waits here.
class StreamSink final : public registry::WatchSink {
 public:
  StreamSink(Renderer renderer, LineCache& lines) : renderer_(std::move(renderer)), lines_(lines) {}

  bool OnEvent(registry::WatchEventType type, const objects::ObjectRef& object) override {
    std::lock_guard lock(mutex_);
    const bool first = std::exchange(first_, false) && renderer_.view().shape == Shape::kTable;
    return Send(lines_.Line(renderer_, type, object, first));
  }

  bool OnBookmark(objects::Revision revision, bool initial_events_end) override {
    std::lock_guard lock(mutex_);
    return Send(
        std::make_shared<const std::string>(renderer_.Bookmark(revision, initial_events_end)));
  }

  void OnEnd() override {
    std::shared_ptr<net::Stream> stream;
    {
      std::lock_guard lock(mutex_);
      ended_ = true;
      stream = std::move(stream_);
    }
    if (stream) stream->Close();
  }

  void Attach(const std::shared_ptr<net::Stream>& stream) {
    bool ended = false;
    {
      std::lock_guard lock(mutex_);
      for (auto& line : waiting_) stream->Push(std::move(line));
      waiting_.clear();
      ended = ended_;
      if (!ended) stream_ = stream;
    }
    if (ended) stream->Close();
  }

 private:
  bool Send(std::shared_ptr<const std::string> line) REQUIRES(mutex_) {
    if (ended_) return false;
    if (stream_) return stream_->Push(std::move(line));
    waiting_.push_back(std::move(line));
    return true;
  }

  const Renderer renderer_;
  LineCache& lines_;
  std::mutex mutex_;
  bool first_ GUARDED_BY(mutex_) = true;
  bool ended_ GUARDED_BY(mutex_) = false;
  std::vector<std::shared_ptr<const std::string>> waiting_ GUARDED_BY(mutex_);
  std::shared_ptr<net::Stream> stream_ GUARDED_BY(mutex_);
};

// Closes the watch when the stream, or the response that never became one, is gone.
struct WatchGuard {
  explicit WatchGuard(std::shared_ptr<registry::WatchHub::Handle> its_handle)
      : handle(std::move(its_handle)) {}
  ~WatchGuard() { handle->Close(); }
  WatchGuard(const WatchGuard&) = delete;
  WatchGuard& operator=(const WatchGuard&) = delete;
  const std::shared_ptr<registry::WatchHub::Handle> handle;
};

}  // namespace

Front::Response Front::Read(const net::ServerRequest& request, const RequestInfo& info,
                            const registry::Target& target, const View& view) {
  if (target.subresource == "scale") {
    const Json scale = TRY(registry_.GetScale(target));
    const bool table = view.shape == Shape::kTable;
    return JsonText(200, ToJson(table ? ScaleTable(scale, view, registry_.clock().Now()) : scale));
  }
  const Renderer renderer(registry_, target, view);
  if (info.verb == "get") {
    const auto object = TRY(registry_.Get(target));
    return JsonText(200, renderer.Object(*object));
  }
  const registry::ListQuery query = TRY(ParseList(request.query));
  return JsonText(200, renderer.List(TRY(registry_.List(target, query))));
}

Front::Response Front::Watch(const net::ServerRequest& request, const registry::Target& target,
                             const View& view) {
  registry::WatchQuery query = TRY(ParseWatch(request.query));
  if (!target.name.empty()) {
    if (!query.field_selector.empty()) query.field_selector += ',';
    query.field_selector += "metadata.name=" + target.name;
  }
  auto sink = std::make_shared<StreamSink>(Renderer(registry_, target, view), lines_);
  auto guard = std::make_shared<WatchGuard>(TRY(watches_.Start(target, query, sink)));
  net::ServerResponse response;
  response.headers.Add("Content-Type", view.yaml ? "application/yaml" : "application/json");
  response.on_stream = [sink,
                        guard = std::move(guard)](const std::shared_ptr<net::Stream>& stream) {
    stream->OnClose([guard] { guard->handle->Close(); });
    sink->Attach(stream);
  };
  return response;
}

Front::Response Front::Create(const net::ServerRequest& request, const registry::Target& target,
                              registry::WriteContext& write, const View& view) {
  const BodyFormat format = TRY(NegotiateBody(request));
  auto decoded = TRY(
      schema::DecodeObject(*target.kind, *target.version, request.body, format, write.validation));
  write.warnings = std::move(decoded.warnings);
  schema::ApplyDefaults(*target.kind, *target.version, decoded.object);
  const registry::Written written = TRY(registry_.Create(target, std::move(decoded.object), write));
  return JsonText(written.code, Renderer(registry_, target, view).Answer(written.object));
}

Front::Response Front::CreateBelow(const net::ServerRequest& request,
                                   const registry::Target& target, registry::WriteContext& write) {
  const BodyFormat format = TRY(NegotiateBody(request));
  Json body;
  const std::string message = Reviews::BodyMessage(target);
  if (message.empty()) {
    auto decoded = TRY(schema::DecodeObject(*target.kind, *target.version, request.body, format,
                                            write.validation));
    write.warnings = std::move(decoded.warnings);
    body = std::move(decoded.object);
  } else {
    body = TRY(schema::DecodeMessage(message, request.body, format));
  }
  const registry::Written written = TRY(reviews_.Create(target, std::move(body), write));
  return JsonText(written.code, ToJson(written.object));
}

Front::Response Front::Update(const net::ServerRequest& request, const registry::Target& target,
                              registry::WriteContext& write, const View& view) {
  const BodyFormat format = TRY(NegotiateBody(request));
  if (target.subresource == "scale") {
    const Json scale = TRY(schema::DecodeMessage(kScale, request.body, format));
    return JsonText(200, ToJson(TRY(registry_.UpdateScale(target, scale, write)).object));
  }
  auto decoded = TRY(
      schema::DecodeObject(*target.kind, *target.version, request.body, format, write.validation));
  write.warnings = std::move(decoded.warnings);
  schema::ApplyDefaults(*target.kind, *target.version, decoded.object);
  const registry::Written written = TRY(registry_.Update(target, std::move(decoded.object), write));
  return JsonText(written.code, Renderer(registry_, target, view).Answer(written.object));
}

Front::Response Front::Patch(const net::ServerRequest& request, const registry::Target& target,
                             registry::WriteContext& write, const View& view) {
  const registry::PatchKind kind = TRY(NegotiatePatch(request, target.kind->custom));
  std::vector<std::string> duplicates;
  const Json patch = TRY(schema::DecodePatch(
      request.body, kind == registry::PatchKind::kApply ? BodyFormat::kYaml : BodyFormat::kJson,
      &duplicates));
  if (target.subresource == "scale") {
    return JsonText(200, ToJson(TRY(registry_.PatchScale(target, kind, patch, write)).object));
  }
  const registry::Written written = TRY(registry_.Patch(target, kind, patch, duplicates, write));
  return JsonText(written.code, Renderer(registry_, target, view).Answer(written.object));
}

Front::Response Front::Delete(const net::ServerRequest& request, const RequestInfo& info,
                              const registry::Target& target, registry::WriteContext& write,
                              const View& view) {
  Json options = TRY(DeleteOptionsOf(request.query));
  if (!request.body.empty()) {
    const BodyFormat format = TRY(NegotiateBody(request));
    options = TRY(schema::DecodeMessage(kDeleteOptions, request.body, format));
  }
  const auto how = TRY(objects::ParseDeleteOptions(options));
  write.dry_run = !ArrayAt(options, "dryRun").empty();
  if (info.verb == "delete") {
    const registry::Written written = TRY(registry_.Delete(target, how, write));
    return JsonText(written.code, Renderer(registry_, target, view).Answer(written.object));
  }
  const registry::ListQuery query = TRY(ParseList(request.query));
  return JsonText(200, ToJson(TRY(registry_.DeleteCollection(target, query, how, write)).object));
}

}  // namespace thinsnap::apiserver
