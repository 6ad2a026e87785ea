// Where AWS's own tools look for credentials, region and endpoint: the environment, then the
// profile's files.
#include <map>

#include "base/core/file.h"
#include "snapshotter/store/location.h"

namespace thinsnap::store {
namespace {

using Section = std::map<std::string, std::string>;

std::string Trim(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r");
  if (first == text.npos) return "";
  return std::string(text.substr(first, text.find_last_not_of(" \t\r") - first + 1));
}

// The values of one section of an INI file; nested ones (indented lines) are left out. A missing
// file has none.
Result<Section> ReadSection(const std::string& path, const std::string& name) {
  Section section;
  const auto content = ReadFile(path, kMiB);
  if (content.Is(Code::kNotFound)) return section;
  if (!content.ok()) return content.error();
  bool inside = false;
  for (std::size_t start = 0; start < content->size();) {
    const std::size_t end = std::min(content->find('\n', start), content->size());
    const std::string line = content->substr(start, end - start);
    start = end + 1;
    const std::string trimmed = Trim(line);
    if (trimmed.empty() || trimmed.front() == '#' || trimmed.front() == ';') continue;
    if (trimmed.front() == '[') {
      inside = trimmed == "[" + name + "]";
    } else if (const auto equals = trimmed.find('=');
               inside && equals != trimmed.npos && line.front() != ' ' && line.front() != '\t') {
      section[Trim(trimmed.substr(0, equals))] = Trim(trimmed.substr(equals + 1));
    }
  }
  return section;
}

}  // namespace

Status FillFromAwsEnvironment(const Environment& environment, Location& location) {
  if (!IsS3(location.url)) return {};
  const auto get = [&](const std::string& name) {
    auto value = environment(name);
    return value && !value->empty() ? value : std::nullopt;
  };
  const std::string home = get("HOME").value_or("/root");
  const std::string profile = get("AWS_PROFILE").value_or("default");
  // A file that nobody named and that cannot be read is like one that is missing, unless the keys
  // turn out to be.
  std::string unread;
  const auto read = [&](const char* variable, const char* usual,
                        const std::string& name) -> Result<Section> {
    const auto named = get(variable);
    auto section = ReadSection(named.value_or(home + usual), name);
    if (section.ok() || named || get("AWS_PROFILE")) return section;
    if (!unread.empty()) unread += "; ";
    unread += section.error().message();
    return Section();
  };
  const Section secrets =
      TRY(read("AWS_SHARED_CREDENTIALS_FILE", "/.aws/credentials", profile).In("AWS credentials"));
  const Section config = TRY(
      read("AWS_CONFIG_FILE", "/.aws/config", profile == "default" ? profile : "profile " + profile)
          .In("AWS configuration"));
  const auto from_files = [&](const std::string& name) -> std::optional<std::string> {
    for (const Section* section : {&secrets, &config}) {
      if (const auto found = section->find(name);
          found != section->end() && !found->second.empty()) {
        return found->second;
      }
    }
    return std::nullopt;
  };

  Credentials& credentials = location.credentials;
  if (credentials.access_key_id.empty() && credentials.secret_access_key.empty()) {
    const auto id = get("AWS_ACCESS_KEY_ID");
    const auto secret = get("AWS_SECRET_ACCESS_KEY");
    if (id.has_value() != secret.has_value()) {
      return Error(Code::kInvalidArgument,
                   std::string("environment: ") +
                       (id ? "AWS_SECRET_ACCESS_KEY" : "AWS_ACCESS_KEY_ID") +
                       " is missing beside its other half");
    }
    if (id) {
      credentials = {*id, Secret(*secret), Secret(get("AWS_SESSION_TOKEN").value_or(""))};
    } else if (from_files("aws_access_key_id") && from_files("aws_secret_access_key")) {
      credentials = {*from_files("aws_access_key_id"), Secret(*from_files("aws_secret_access_key")),
                     Secret(from_files("aws_session_token").value_or(""))};
    } else if (get("AWS_PROFILE") && secrets.empty() && config.empty()) {
      return Error(Code::kNotFound,
                   "AWS_PROFILE: there is no profile \"" + profile + "\" in the files of AWS");
    } else if (!unread.empty()) {
      return Error(Code::kUnauthenticated,
                   "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set, and their file "
                   "cannot be read: " +
                       unread);
    }
  }
  if (const auto region = get("AWS_REGION")) {
    location.region = *region;
  } else if (const auto default_region = get("AWS_DEFAULT_REGION")) {
    location.region = *default_region;
  } else if (const auto of_profile = from_files("region")) {
    location.region = *of_profile;
  }
  if (location.endpoint.empty() && location.url.starts_with("s3://")) {
    if (const auto s3_endpoint = get("AWS_ENDPOINT_URL_S3")) {
      location.endpoint = *s3_endpoint;
    } else if (const auto any_endpoint = get("AWS_ENDPOINT_URL")) {
      location.endpoint = *any_endpoint;
    } else if (const auto of_profile = from_files("endpoint_url")) {
      location.endpoint = *of_profile;
    }
    while (location.endpoint.ends_with('/')) location.endpoint.pop_back();
  }
  if (const auto bundle = get("AWS_CA_BUNDLE"); bundle && location.ca_pem.empty()) {
    location.ca_pem = TRY(ReadFile(*bundle, 4 * kMiB).In("AWS_CA_BUNDLE"));
  }
  return {};
}

}  // namespace thinsnap::store
