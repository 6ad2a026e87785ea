#include "simulator/apiserver/negotiate.h"

#include "base/net/media_type.h"

namespace thinsnap::apiserver {

using schema::ApiError;
using schema::ApiResult;

namespace {

constexpr std::string_view kJson = "application/json";
constexpr std::string_view kYaml = "application/yaml";
constexpr std::string_view kProtobuf = "application/vnd.kubernetes.protobuf";

bool IsJsonLike(std::string_view type) {
  return type == kJson || type == "application/*" || type == "*/*";
}

// The view that this clause asks for, if we have it.
std::optional<View> ViewOf(const net::MediaType& media) {
  View view;
  if (media.type == kYaml) {
    view.yaml = true;
  } else if (!IsJsonLike(media.type)) {
    return std::nullopt;
  }
  const auto as = media.Parameter("as");
  if (as.empty()) return view;
  if (media.Parameter("g") != "meta.k8s.io") return std::nullopt;
  const auto version = media.Parameter("v");
  if (version != "v1" && version != "v1beta1") return std::nullopt;
  if (as == "Table") {
    view.shape = Shape::kTable;
    view.table_version = version;
    return view;
  }
  if ((as == "PartialObjectMetadata" || as == "PartialObjectMetadataList") && version == "v1") {
    view.shape = Shape::kMetadata;
    return view;
  }
  return std::nullopt;
}

}  // namespace

ApiResult<View> NegotiateView(const net::ServerRequest& request) {
  const auto accept = net::ParseAccept(request.headers.Get("Accept"));
  std::optional<View> view;
  if (accept.empty()) view = View{};
  for (const net::MediaType& media : accept) {
    view = ViewOf(media);
    if (view) break;
  }
  if (!view) return ApiError::NotAcceptable({std::string(kJson), std::string(kYaml)});
  if (view->shape == Shape::kTable) {
    const auto include = request.QueryOr("includeObject");
    if (include == "None") {
      view->include = objects::IncludeObject::kNone;
    } else if (include == "Object") {
      view->include = objects::IncludeObject::kObject;
    } else if (!include.empty() && include != "Metadata") {
      return ApiError::BadRequest("unrecognized includeObject value: \"" + std::string(include) +
                                  "\"; None, Metadata and Object are known");
    }
  }
  return *view;
}

ApiResult<schema::BodyFormat> NegotiateBody(const net::ServerRequest& request) {
  const auto media = net::ParseMediaType(request.headers.Get("Content-Type"));
  if (media.type.empty() || media.type == kJson || media.type == "*/*")
    return schema::BodyFormat::kJson;
  if (media.type == kYaml) return schema::BodyFormat::kYaml;
  if (media.type == kProtobuf) return schema::BodyFormat::kProtobuf;
  return ApiError::UnsupportedMediaType(
      {std::string(kJson), std::string(kYaml), std::string(kProtobuf)});
}

ApiResult<registry::PatchKind> NegotiatePatch(const net::ServerRequest& request, bool custom) {
  const auto media = net::ParseMediaType(request.headers.Get("Content-Type"));
  if (media.type == "application/json-patch+json") return registry::PatchKind::kJson;
  if (media.type == "application/merge-patch+json") return registry::PatchKind::kMerge;
  if (media.type == "application/apply-patch+yaml") return registry::PatchKind::kApply;
  if (media.type == "application/strategic-merge-patch+json" && !custom)
    return registry::PatchKind::kStrategic;
  std::vector<std::string> accepted = {"application/json-patch+json",
                                       "application/merge-patch+json",
                                       "application/apply-patch+yaml"};
  if (!custom) accepted.insert(accepted.begin() + 2, "application/strategic-merge-patch+json");
  return ApiError::UnsupportedMediaType(accepted);
}

}  // namespace thinsnap::apiserver
