// Holds the source tree to what ARCHITECTURE.md promises: who may include whom, words that belong
// to one place only, no folder below the second level, no file that nothing builds.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;

// The include table: a room may use itself and these. main.cc files may use all that they wire.
const std::map<std::string, std::set<std::string>> kMayInclude = {
    {"base/core", {}},
    {"base/data", {"base/core"}},
    {"base/net", {"base/core"}},
    {"base/kube", {"base/core", "base/data", "base/net"}},
    {"snapshotter/store", {"base/core", "base/data", "base/net"}},
    {"snapshotter/repo", {"base/core", "base/data", "base/net", "snapshotter/store"}},
    {"snapshotter/mover",
     {"base/core", "base/data", "base/net", "snapshotter/store", "snapshotter/repo"}},
    {"csi/proto", {"base/core"}},
    {"csi/pool", {"base/core", "base/data", "snapshotter/mover"}},
    {"csi/node", {"base/core", "base/data", "csi/pool"}},
    {"csi/driver",
     {"base/core", "base/data", "base/net", "base/kube", "csi/proto", "csi/pool", "csi/node",
      "snapshotter/store", "snapshotter/repo", "snapshotter/mover"}},
    {"snapshotter/operator",
     {"base/core", "base/data", "base/net", "base/kube", "snapshotter/store", "snapshotter/repo"}},
    {"snapshotter/cli",
     {"base/core", "base/data", "snapshotter/store", "snapshotter/repo", "snapshotter/mover"}},
};

struct Banned {
  std::string word, instead;
  std::set<std::string> allowed;  // rooms or files
};

const std::vector<Banned> kBanned = {
    {"system_clock::now", "Clock", {"base/core/clock.cc"}},
    {"steady_clock::now", "Clock", {"base/core/clock.cc"}},
    {"std::thread",
     "TaskGroup::Spawn",
     {"base/core/runtime.cc", "base/core/baton_runtime.h", "base/core/baton_runtime.cc",
      "base/net"}},
    {"sleep_for", "Runtime::SleepFor", {}},
    {"usleep(", "Runtime::SleepFor", {}},
    {"condition_variable",
     "EventCount",
     {"base/core/runtime.cc", "base/core/baton_runtime.h", "base/core/baton_runtime.cc",
      "base/net"}},
    {"random_device", "Random", {}},
    {"getenv(", "a parameter from main.cc", {"base/kube/config.cc"}},
    {" rand()", "Random", {}},
    {"using namespace std;", "the name itself", {}},
    {"system(", "CommandRunner", {}},
};

int problems = 0;

void Report(const std::string& file, std::size_t line, const std::string& what) {
  std::cout << file << ":" << line << ": " << what << "\n";
  ++problems;
}

std::string RoomOf(const std::string& path) {
  const auto first = path.find('/');
  const auto second = path.find('/', first + 1);
  return second == std::string::npos ? path.substr(0, first) : path.substr(0, second);
}

bool IsSource(const fs::path& path) {
  return path.extension() == ".cc" || path.extension() == ".h";
}

std::string ReadAll(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

void CheckIncludes(const std::string& path, const std::string& line, std::size_t number) {
  if (!line.starts_with("#include \"") || path.ends_with("main.cc")) return;
  const std::string included = line.substr(10, line.rfind('"') - 10);
  const std::string from = RoomOf(path), to = RoomOf(included);
  if (from == to) return;
  if (to.starts_with("tests")) return Report(path, number, "includes a test");
  if (from.starts_with("simulator") || from == "simulator") return;
  if (to.starts_with("simulator"))
    return Report(path, number, "nothing but tests uses the simulator: " + included);
  const auto table = kMayInclude.find(from);
  if (table == kMayInclude.end() || included.find('/') == std::string::npos) return;
  if (!included.starts_with("base/") && !included.starts_with("csi/") &&
      !included.starts_with("snapshotter/"))
    return;
  if (!table->second.contains(to))
    Report(path, number, from + " may not include " + to + " (" + included + ")");
}

void CheckWords(const std::string& path, const std::string& line, std::size_t number) {
  const auto comment = line.find("//");
  const std::string code = line.substr(0, comment);
  for (const Banned& banned : kBanned) {
    const auto at = code.find(banned.word);
    if (at == std::string::npos || path.ends_with("main.cc")) continue;
    if (banned.word == "system(" && at > 0 &&
        (std::isalnum(static_cast<unsigned char>(code[at - 1])) != 0 || code[at - 1] == '_' ||
         code[at - 1] == '.' || code[at - 1] == '"'))
      continue;
    if (banned.allowed.contains(path) || banned.allowed.contains(RoomOf(path))) continue;
    Report(path, number, "\"" + banned.word + "\": use " + banned.instead);
  }
}

void CheckFile(const fs::path& root, const fs::path& file) {
  const std::string path = fs::relative(file, root).string();
  if (std::count(path.begin(), path.end(), '/') > 2)
    Report(path, 1, "lies below the second level of folders");
  std::istringstream lines(ReadAll(file));
  std::string line;
  for (std::size_t number = 1; std::getline(lines, line); ++number) {
    CheckIncludes(path, line, number);
    CheckWords(path, line, number);
  }
}

// Every .cc is named by a CMakeLists.txt of its room or of the room's parent.
void CheckBuilt(const fs::path& root, const fs::path& file) {
  if (file.extension() != ".cc") return;
  for (fs::path folder = file.parent_path(); folder != root.parent_path();
       folder = folder.parent_path()) {
    const fs::path list = folder / "CMakeLists.txt";
    if (fs::exists(list) && ReadAll(list).find(file.filename().string()) != std::string::npos)
      return;
  }
  Report(fs::relative(file, root).string(), 1, "no CMakeLists.txt names it");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cout << "usage: tidy_tree SOURCE_FOLDER\n";
    return 2;
  }
  const fs::path root = fs::canonical(argv[1]);
  std::size_t files = 0;
  for (const char* top : {"base", "csi", "snapshotter", "simulator"}) {
    for (const auto& entry : fs::recursive_directory_iterator(root / top)) {
      if (!entry.is_regular_file() || !IsSource(entry.path())) continue;
      CheckFile(root, entry.path());
      CheckBuilt(root, entry.path());
      ++files;
    }
  }
  for (const char* top : {"tests", "bench"}) {
    for (const auto& entry : fs::recursive_directory_iterator(root / top)) {
      if (entry.is_regular_file() && IsSource(entry.path())) CheckBuilt(root, entry.path());
    }
  }
  std::cout << files << " files, " << problems << " problems\n";
  return problems == 0 ? 0 : 1;
}
