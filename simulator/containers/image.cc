#include "simulator/containers/image.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <mutex>
#include <sstream>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <system_error>
#include <tuple>
#include <unistd.h>

#include "base/core/file.h"
#include "simulator/containers/jail.h"
#include "simulator/containers/oci_layout.h"

namespace thinsnap::containers {
namespace {

namespace fs = std::filesystem;

constexpr const char* kUsualPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
constexpr const char* kBusyboxPath = "/usr/bin/busybox";

std::string WithoutTag(const std::string& image) {
  std::string text = image.substr(0, image.find('@'));
  const std::size_t slash = text.rfind('/');
  const std::size_t colon = text.rfind(':');
  if (colon != std::string::npos && (slash == std::string::npos || colon > slash))
    text.resize(colon);
  return text;
}

Error Failed(const std::string& what, const std::error_code& code) {
  return ErrnoError(code.value(), what);
}

// One binary and a link for each applet.
Status FillBusybox(const std::string& folder, const std::string& applets) {
  TRY(MakeFolders(folder + "/bin"));
  if (chmod(folder.c_str(), 0755) != 0) return ErrnoError(errno, "open up " + folder);
  std::error_code code;
  if (!fs::copy_file(kBusyboxPath, folder + "/bin/busybox", code))
    return Failed("copy busybox", code);
  std::istringstream lines(applets);
  for (std::string applet; std::getline(lines, applet);) {
    if (applet.empty() || applet == "busybox") continue;
    fs::create_symlink("/bin/busybox", folder + "/bin/" + applet, code);
    // On a full disk, say: an image without some of its programs would stay so.
    if (code) return Failed("link " + applet + " to busybox", code);
  }
  return {};
}

// Made once, in a folder that is moved to its place when complete.
Status UnpackBusybox(const std::string& folder, CommandRunner& runner) {
  if (access((folder + "/bin/busybox").c_str(), F_OK) == 0) return {};
  if (access(kBusyboxPath, X_OK) != 0) {
    return Error(Code::kFailedPrecondition, std::string("there is no ") + kBusyboxPath +
                                                "; install the package busybox-static");
  }
  const CommandOutput list =
      TRY(RunChecked(runner, Command{.argv = {kBusyboxPath, "--list"}, .env = {}, .input = ""}));
  // A folder of this call alone: pods start side by side, and every node's kubelet is process 1.
  TRY(MakeFolders(fs::path(folder).parent_path().string()));
  std::string draft = folder + ".XXXXXX";
  if (mkdtemp(draft.data()) == nullptr) return ErrnoError(errno, "make a folder beside " + folder);
  Status filled = FillBusybox(draft, list.out);
  if (filled.ok() && rename(draft.c_str(), folder.c_str()) != 0)
    filled = ErrnoError(errno, "put " + folder + " in place");
  if (filled.ok()) return {};
  std::error_code code;
  fs::remove_all(draft, code);
  // Another pod or node was faster.
  if (access((folder + "/bin/busybox").c_str(), F_OK) == 0) return {};
  return filled;
}

void AddHostFiles(RootPlan* plan) {
  plan->read_only_binds.emplace_back("/usr", "/usr");
  for (const char* name : {"bin", "sbin", "lib", "lib32", "lib64", "libx32"}) {
    const std::string path = std::string("/") + name;
    std::error_code code;
    if (fs::is_symlink(path, code)) {
      plan->links.emplace_back(path, fs::read_symlink(path, code).string());
    } else if (fs::is_directory(path, code)) {
      plan->read_only_binds.emplace_back(path, path);
    }
  }
  // Public and needed by programs under /usr: the choice of alternatives, and whom TLS trusts.
  for (const char* path : {"/etc/alternatives", "/etc/ssl/certs"}) {
    std::error_code code;
    if (fs::is_directory(path, code)) plan->read_only_binds.emplace_back(path, path);
  }
  plan->path_variable = kUsualPath;
}

Status PlanOciRoot(const std::string& image, const std::string& layout, const ImageOptions& options,
                   CommandRunner& runner, RootPlan* plan) {
  OciImage found = TRY(OpenOciLayout(layout, options.cache_folder, runner).In("image " + image));
  const std::string user = found.user.substr(0, found.user.find(':'));
  if (user.find_first_not_of("0123456789") != std::string::npos && user != "root") {
    return Error(Code::kFailedPrecondition,
                 "image " + image + " runs as user \"" + user +
                     "\": only numbers are understood here; set securityContext.runAsUser");
  }
  plan->user = std::strtoll(user.c_str(), nullptr, 10);
  plan->lower_folders = std::move(found.layers);
  plan->entrypoint = std::move(found.entrypoint);
  plan->default_command = std::move(found.command);
  plan->environment = std::move(found.environment);
  plan->working_folder = std::move(found.working_folder);
  return {};
}

// The image's folders as the lower layers of the container's own.
Status MountLayers(const RootPlan& plan, const std::string& root) {
  const std::string own = root + ".layers";
  TRY(MakeFolders(own + "/upper"));
  TRY(MakeFolders(own + "/work"));
  std::string lower;
  for (auto it = plan.lower_folders.rbegin(); it != plan.lower_folders.rend(); ++it)
    lower += (lower.empty() ? "" : ":") + *it;
  const std::string data =
      "lowerdir=" + lower + ",upperdir=" + own + "/upper,workdir=" + own + "/work";
  if (mount("overlay", root.c_str(), "overlay", 0, data.c_str()) == 0) return {};
  const int why = errno;
  if (plan.lower_folders.size() > 1) return ErrnoError(why, "overlay the layers of the image");
  // The data folder lies on an overlay itself: a copy does it too.
  std::error_code code;
  fs::copy(plan.lower_folders.front(), root,
           fs::copy_options::recursive | fs::copy_options::copy_symlinks, code);
  if (code) return Failed("copy " + plan.lower_folders.front(), code);
  return {};
}

}  // namespace

std::string ShortImageName(const std::string& image) {
  const std::string text = WithoutTag(image);
  const std::size_t slash = text.rfind('/');
  return slash == std::string::npos ? text : text.substr(slash + 1);
}

ImageChoice ChooseImage(const std::string& image, const ImageOptions& options) {
  for (const std::string& name : {image, WithoutTag(image), ShortImageName(image)}) {
    if (const auto it = options.folders.find(name); it != options.folders.end()) {
      return {ImageKind::kFolder, it->second};
    }
  }
  const std::string name = ShortImageName(image);
  if (name == "busybox" || name == "alpine") return {ImageKind::kBusybox, ""};
  if (name == "thinsnap") return {ImageKind::kOwn, ""};
  return {ImageKind::kHost, ""};
}

Result<RootPlan> PlanRoot(const std::string& image, const ImageOptions& options,
                          CommandRunner& runner) {
  RootPlan plan;
  plan.path_variable = kUsualPath;
  const ImageChoice choice = ChooseImage(image, options);
  switch (choice.kind) {
    case ImageKind::kBusybox: {
      const std::string folder = options.cache_folder + "/busybox";
      TRY(UnpackBusybox(folder, runner));
      plan.read_only_binds.emplace_back(folder + "/bin", "/bin");
      plan.links.emplace_back("/sbin", "bin");
      plan.default_command = {"sh"};
      break;
    }
    case ImageKind::kOwn:
      AddHostFiles(&plan);
      plan.read_only_binds.emplace_back(options.program_folder, "/opt/thinsnap/bin");
      plan.path_variable = std::string("/opt/thinsnap/bin:") + kUsualPath;
      break;
    case ImageKind::kHost:
      AddHostFiles(&plan);
      plan.default_command = {"sleep", "infinity"};
      plan.note = "thinsnap-sim: the image " + image +
                  " stands for this host's /usr; without a command of its own the container sleeps";
      break;
    case ImageKind::kFolder: {
      std::error_code code;
      if (!fs::is_directory(choice.folder, code)) {
        return Error(Code::kFailedPrecondition, "image " + image + " is mapped to " +
                                                    choice.folder + ", which is not a folder");
      }
      if (IsOciLayout(choice.folder)) {
        TRY(PlanOciRoot(image, choice.folder, options, runner, &plan));
        break;
      }
      plan.lower_folders = {choice.folder};
      plan.default_command = {"sh"};
      break;
    }
  }
  return plan;
}

Status MakeRoot(const RootPlan& plan, const std::string& root, const std::string& hostname,
                const std::vector<std::pair<std::string, std::string>>& hosts) {
  TRY(MakeFolders(root));
  if (!plan.lower_folders.empty()) TRY(MountLayers(plan, root));
  // An image may bring links of its own.
  const Jail jail = TRY(Jail::Open(root, Jail::Links::kInside));
  for (const char* folder : {"dev", "etc", "home", "opt", "proc", "root", "run", "sys", "tmp",
                             "usr", "var/tmp", "var/log", "var/lib", "var/cache", "mnt", "srv"}) {
    // What an image has there instead, such as a file, is its own affair.
    std::ignore = jail.FindOrMakeFolder(folder, 0755);
  }
  TRY(jail.MakeLink("var/run", "/run"));
  jail.SetMode("tmp", 01777).IgnoreError();      // as above
  jail.SetMode("var/tmp", 01777).IgnoreError();  // as above
  jail.SetMode("root", 0700).IgnoreError();      // as above
  for (const auto& [path, target] : plan.links) TRY(jail.MakeLink(path, target));
  for (const auto& [host, path] : plan.read_only_binds) TRY(jail.FindOrMakeFolder(path, 0755));

  if (plan.lower_folders.empty()) {
    TRY(jail.WriteText("etc/passwd",
                       "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\n"
                       "nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"));
    TRY(jail.WriteText("etc/group", "root:x:0:\ndaemon:x:1:\nnogroup:x:65534:\n"));
    TRY(jail.WriteText("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"));
  }
  std::string hosts_text =
      "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n127.0.0.1\t" + hostname + "\n";
  for (const auto& [address, names] : hosts) hosts_text += address + "\t" + names + "\n";
  TRY(jail.WriteText("etc/hosts", hosts_text));
  TRY(jail.WriteText("etc/hostname", hostname + "\n"));
  TRY(jail.WriteText("etc/resolv.conf", ReadFile("/etc/resolv.conf", kMiB).ValueOr("")));
  return {};
}

}  // namespace thinsnap::containers
