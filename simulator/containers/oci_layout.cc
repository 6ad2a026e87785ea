#include "simulator/containers/oci_layout.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <system_error>
#include <unistd.h>

#include "base/core/file.h"
#include "base/data/json.h"

namespace thinsnap::containers {
namespace {

namespace fs = std::filesystem;

constexpr char kWhiteout[] = ".wh.";
constexpr char kOpaque[] = ".wh..wh..opq";
constexpr int kDeepestIndex = 4;

// The file of a blob, whose content is what its name says.
Result<std::string> BlobPath(const std::string& layout, const std::string& digest,
                             CommandRunner& runner) {
  const std::string hex = digest.starts_with("sha256:") ? digest.substr(7) : "";
  if (hex.size() != 64 || hex.find_first_not_of("0123456789abcdef") != std::string::npos) {
    return Error(Code::kFailedPrecondition, "OCI layout " + layout + ": digest \"" + digest +
                                                "\" is not of the form sha256:<64 hex digits>");
  }
  std::string path = layout + "/blobs/sha256/" + hex;
  const CommandOutput sum =
      TRY(RunChecked(runner, Command{.argv = {"sha256sum", path}, .env = {}, .input = ""}));
  if (!sum.out.starts_with(hex)) {
    return Error(Code::kDataLoss, "OCI layout " + layout + ": blob " + digest + " is damaged");
  }
  return path;
}

Result<Json> ReadBlob(const std::string& layout, const std::string& digest, CommandRunner& runner) {
  const std::string path = TRY(BlobPath(layout, digest, runner));
  return ParseJson(TRY(ReadFile(path, 4 * kMiB))).In(path);
}

// The manifest for this machine: the first of an index that is for it or for any.
Result<Json> FindManifest(const std::string& layout, CommandRunner& runner) {
  const std::string path = layout + "/index.json";
  const std::string text = TRY(ReadFile(path, 4 * kMiB));
  Json node = TRY(ParseJson(text).In(path));
  for (int depth = 0; depth < kDeepestIndex; ++depth) {
    if (Find(node, "manifests") == nullptr) return node;
    const JsonArray& choices = ArrayAt(node, "manifests");
    const auto fits = [](const Json& choice) {
      return StringAt(choice, "platform.architecture", "amd64") == "amd64" &&
             StringAt(choice, "platform.os", "linux") == "linux";
    };
    const auto chosen = std::find_if(choices.begin(), choices.end(), fits);
    if (chosen == choices.end()) {
      return Error(Code::kFailedPrecondition,
                   "OCI layout " + layout + " has no image for linux/amd64");
    }
    node = TRY(ReadBlob(layout, StringAt(*chosen, "digest"), runner));
  }
  return Error(Code::kFailedPrecondition, "OCI layout " + layout + ": its indexes go too deep");
}

// What a layer removes from those below it: from OCI's words to overlayfs's.
Status TranslateWhiteouts(const std::string& folder) {
  std::vector<fs::path> marks;
  std::error_code code;
  for (auto it = fs::recursive_directory_iterator(folder, code);
       it != fs::recursive_directory_iterator(); it.increment(code)) {
    if (code) return ErrnoError(code.value(), "read " + folder);
    if (it->path().filename().string().starts_with(kWhiteout)) marks.push_back(it->path());
  }
  for (const fs::path& mark : marks) {
    if (unlink(mark.c_str()) != 0) return ErrnoError(errno, "remove " + mark.string());
    const std::string name = mark.filename().string();
    const fs::path parent = mark.parent_path();
    if (name == kOpaque) {
      if (setxattr(parent.c_str(), "trusted.overlay.opaque", "y", 1, 0) != 0)
        return ErrnoError(errno, "mark " + parent.string());
      continue;
    }
    const fs::path gone = parent / name.substr(sizeof kWhiteout - 1);
    if (mknod(gone.c_str(), S_IFCHR, makedev(0, 0)) != 0 && errno != EEXIST)
      return ErrnoError(errno, "mark " + gone.string());
  }
  return {};
}

Result<std::string> UnpackLayer(const std::string& layout, const std::string& digest,
                                const std::string& cache_folder, CommandRunner& runner) {
  const std::string blob = TRY(BlobPath(layout, digest, runner));
  // Short: overlayfs takes all names of an image in one page.
  std::string folder = cache_folder + "/oci-" + digest.substr(7, 16);
  if (access(folder.c_str(), F_OK) == 0) return folder;
  TRY(MakeFolders(cache_folder));
  std::string draft = folder + ".XXXXXX";
  if (mkdtemp(draft.data()) == nullptr) return ErrnoError(errno, "make a folder beside " + folder);
  const auto fill = [&]() -> Status {
    if (chmod(draft.c_str(), 0755) != 0) return ErrnoError(errno, "open up " + draft);
    Command unpack;
    unpack.argv = {"tar", "--extract", "--numeric-owner", "--file", blob, "--directory", draft};
    TRY(RunChecked(runner, unpack).In("unpack " + blob));
    TRY(TranslateWhiteouts(draft));
    if (rename(draft.c_str(), folder.c_str()) != 0)
      return ErrnoError(errno, "put " + folder + " in place");
    return {};
  };
  Status filled = fill();
  if (filled.ok()) return folder;
  std::error_code code;
  fs::remove_all(draft, code);
  // Another pod or node was faster.
  if (access(folder.c_str(), F_OK) == 0) return folder;
  return std::move(filled).error();
}

std::vector<std::string> StringsOf(const JsonArray& array) {
  std::vector<std::string> strings;
  for (const Json& item : array) {
    if (item.is_string()) strings.emplace_back(item.get_string());
  }
  return strings;
}

}  // namespace

bool IsOciLayout(const std::string& folder) {
  return access((folder + "/oci-layout").c_str(), F_OK) == 0;
}

Result<OciImage> OpenOciLayout(const std::string& folder, const std::string& cache_folder,
                               CommandRunner& runner) {
  const Json manifest = TRY(FindManifest(folder, runner));
  const Json config = TRY(ReadBlob(folder, StringAt(manifest, "config.digest"), runner));
  OciImage image;
  for (const Json& layer : ArrayAt(manifest, "layers")) {
    image.layers.push_back(
        TRY(UnpackLayer(folder, StringAt(layer, "digest"), cache_folder, runner)));
  }
  if (image.layers.empty())
    return Error(Code::kFailedPrecondition, "OCI layout " + folder + ": the image has no layers");
  image.entrypoint = StringsOf(ArrayAt(config, "config.Entrypoint"));
  image.command = StringsOf(ArrayAt(config, "config.Cmd"));
  for (const std::string& text : StringsOf(ArrayAt(config, "config.Env"))) {
    const std::size_t equals = text.find('=');
    if (equals != std::string::npos)
      SetVariable(image.environment, text.substr(0, equals), text.substr(equals + 1));
  }
  image.working_folder = StringAt(config, "config.WorkingDir");
  image.user = StringAt(config, "config.User");
  return image;
}

}  // namespace thinsnap::containers
