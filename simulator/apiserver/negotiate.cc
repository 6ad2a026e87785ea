#include "simulator/apiserver/negotiate.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>

namespace thinsnap::apiserver {

using objects::ApiError;
using objects::ApiResult;

namespace {

constexpr std::string_view kJson = "application/json";
constexpr std::string_view kYaml = "application/yaml";
constexpr std::string_view kProtobuf = "application/vnd.kubernetes.protobuf";

std::string_view Trim(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front())))
    text.remove_prefix(1);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())))
    text.remove_suffix(1);
  return text;
}

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const auto at = text.find(separator);
    parts.push_back(Trim(text.substr(0, at)));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

double Quality(const MediaType& media) {
  const std::string q(media.Parameter("q"));
  return q.empty() ? 1.0 : std::strtod(q.c_str(), nullptr);
}

bool IsJsonLike(std::string_view type) {
  return type == kJson || type == "application/*" || type == "*/*";
}

// The view that this clause asks for, if we have it.
std::optional<View> ViewOf(const MediaType& media) {
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

std::string_view MediaType::Parameter(std::string_view name) const {
  for (const auto& [key, value] : parameters) {
    if (key == name) return value;
  }
  return "";
}

MediaType ParseMediaType(std::string_view text) {
  MediaType media;
  const auto parts = Split(text, ';');
  media.type = parts[0];
  std::transform(media.type.begin(), media.type.end(), media.type.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  for (std::size_t i = 1; i < parts.size(); ++i) {
    const auto equals = parts[i].find('=');
    if (equals == std::string_view::npos) continue;
    media.parameters.emplace_back(Trim(parts[i].substr(0, equals)),
                                  Trim(parts[i].substr(equals + 1)));
  }
  return media;
}

std::vector<MediaType> ParseAccept(std::string_view text) {
  std::vector<MediaType> all;
  for (const auto part : Split(text, ',')) {
    if (!part.empty()) all.push_back(ParseMediaType(part));
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const MediaType& a, const MediaType& b) { return Quality(a) > Quality(b); });
  return all;
}

ApiResult<View> NegotiateView(const net::ServerRequest& request) {
  const auto accept = ParseAccept(request.headers.Get("Accept"));
  std::optional<View> view;
  if (accept.empty()) view = View{};
  for (const MediaType& media : accept) {
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

ApiResult<objects::BodyFormat> NegotiateBody(const net::ServerRequest& request) {
  const auto media = ParseMediaType(request.headers.Get("Content-Type"));
  if (media.type.empty() || media.type == kJson || media.type == "*/*")
    return objects::BodyFormat::kJson;
  if (media.type == kYaml) return objects::BodyFormat::kYaml;
  if (media.type == kProtobuf) return objects::BodyFormat::kProtobuf;
  return ApiError::UnsupportedMediaType(
      {std::string(kJson), std::string(kYaml), std::string(kProtobuf)});
}

ApiResult<PatchKind> NegotiatePatch(const net::ServerRequest& request, bool custom) {
  const auto media = ParseMediaType(request.headers.Get("Content-Type"));
  if (media.type == "application/json-patch+json") return PatchKind::kJson;
  if (media.type == "application/merge-patch+json") return PatchKind::kMerge;
  if (media.type == "application/apply-patch+yaml") return PatchKind::kApply;
  if (media.type == "application/strategic-merge-patch+json" && !custom)
    return PatchKind::kStrategic;
  std::vector<std::string> accepted = {"application/json-patch+json",
                                       "application/merge-patch+json",
                                       "application/apply-patch+yaml"};
  if (!custom) accepted.insert(accepted.begin() + 2, "application/strategic-merge-patch+json");
  return ApiError::UnsupportedMediaType(accepted);
}

}  // namespace thinsnap::apiserver
