// Holds the source tree to what ARCHITECTURE.md promises: who may include whom, words that belong
// to one place only, no folder below the second level, no file that nothing builds or includes, no
// answer of a Find that is dereferenced unseen.
#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "tests/tidy/dereferences.h"

namespace {

namespace fs = std::filesystem;

using Rooms = std::set<std::string>;

// The include table: a room may use itself and these. Files named main.cc wire a program and may
// use all of it; tests, bench and the rooms of simulator without a line may use everything, but
// nobody outside uses them.
const std::map<std::string, Rooms> kMayInclude = {
    {"base/core", {}},
    {"base/data", {"base/core"}},
    {"base/net", {"base/core"}},
    {"base/block", {"base/core"}},
    {"base/kube", {"base/core", "base/data", "base/net"}},
    {"snapshotter/store", {"base/core", "base/data", "base/net"}},
    {"snapshotter/repo", {"base/core", "base/data", "base/net", "snapshotter/store"}},
    {"snapshotter/mover",
     {"base/core", "base/data", "base/net", "base/block", "snapshotter/store", "snapshotter/repo"}},
    {"csi/proto", {"base/core"}},
    {"csi/pool", {"base/core", "base/data", "base/block"}},
    {"csi/reflink", {"base/core", "base/data", "base/block", "csi/pool"}},
    {"csi/mount", {"base/core", "base/data", "base/block", "csi/pool"}},
    {"csi/transfer",
     {"base/core", "base/data", "base/net", "base/block", "base/kube", "csi/pool",
      "snapshotter/store", "snapshotter/repo", "snapshotter/mover"}},
    {"csi/driver",
     {"base/core", "base/data", "base/net", "base/block", "base/kube", "csi/proto", "csi/pool",
      "csi/mount", "csi/transfer", "snapshotter/store", "snapshotter/repo", "snapshotter/mover"}},
    {"csi/controller",
     {"base/core", "base/data", "base/net", "base/kube", "csi/proto", "csi/pool", "csi/driver"}},
    {"snapshotter/api", {"base/core", "base/data", "base/kube", "snapshotter/store"}},
    {"snapshotter/operator",
     {"base/core", "base/data", "base/net", "base/kube", "snapshotter/store", "snapshotter/repo",
      "snapshotter/mover", "snapshotter/api"}},
    {"snapshotter/cli",
     {"base/core", "base/data", "base/block", "snapshotter/store", "snapshotter/repo",
      "snapshotter/mover"}},
    // The rooms of the simulator's API server and scheduler; the other rooms of the simulator are
    // free.
    {"simulator/schema", {"base/core", "base/data"}},
    {"simulator/objects", {"base/core", "base/data", "simulator/schema"}},
    {"simulator/registry",
     {"base/core", "base/data", "base/kube", "simulator/schema", "simulator/objects"}},
    {"simulator/streams", {"base/core", "base/data", "base/net", "simulator/schema"}},
    {"simulator/apiserver",
     {"base/core", "base/data", "base/net", "base/kube", "simulator/schema", "simulator/objects",
      "simulator/registry", "simulator/streams"}},
    {"simulator/containers", {"base/core", "base/data", "base/kube"}},
    {"simulator/placement",
     {"base/core", "base/data", "base/kube", "simulator/schema", "simulator/objects"}},
    {"simulator/workloads", {"base/core", "base/data", "base/kube", "simulator/placement"}},
    {"simulator/controllers",
     {"base/core", "base/data", "base/net", "base/kube", "simulator/schema", "simulator/objects",
      "simulator/placement", "simulator/workloads"}},
};

// Words of code that belong to the named files only. "main.cc" stands for every file of that name,
// a room for all of its files, "tests" for all tests.
struct Banned {
  std::string word, instead;
  std::set<std::string> allowed;
};

const Rooms kRuntimes = {"base/core/runtime.cc"};
const Rooms kThreads = {"base/core/runtime.cc", "base/core/task_state.h", "base/net/event_loop.h",
                        "base/net/event_loop.cc"};
const Rooms kConditions = {"base/core/runtime.cc", "base/net/http_session.h"};

const std::vector<Banned> kBanned = {
    {"system_clock::now", "Clock", {"base/core/clock.cc"}},
    {"steady_clock::now", "Clock", {"base/core/clock.cc"}},
    {"high_resolution_clock", "Clock", {}},
    {"clock_gettime", "Clock", {}},
    {"gettimeofday", "Clock", {}},
    {"std::thread", "TaskGroup::Spawn", kThreads},
    {"std::jthread", "TaskGroup::Spawn", {}},
    {"std::async", "TaskGroup::Spawn", {}},
    {"this_thread::", "Runtime", kRuntimes},
    {"sleep_for", "Runtime::SleepFor", {}},
    {"sleep_until", "Runtime::SleepFor", {}},
    {"usleep(", "Runtime::SleepFor", {}},
    {"nanosleep(", "Runtime::SleepFor", {}},
    {"condition_variable", "EventCount", kConditions},
    {"random_device", "Random", {}},
    {"mt19937", "Random", {}},
    {"rand(", "Random", {}},
    {"getenv(",
     "a parameter from main.cc",
     {"main.cc", "base/kube/client_config.cc", "base/net/http_client.cc",
      "tests/contract/store/s3_store_test.cc"}},
    {"setenv(", "Command::env", {}},
    {"using namespace", "the name itself", {}},
    {"system(", "CommandRunner", {}},
    {"popen(", "CommandRunner", {}},
    {"assert(", "ASSERT, which stays on in release", {}},
};

constexpr std::size_t kMostLines = 500;

int problems = 0;

void Report(const std::string& file, std::size_t line, const std::string& what) {
  std::cout << file << ":" << line << ": " << what << "\n";
  ++problems;
}

// "base/core" of "base/core/result.h", "tests/unit" of "tests/unit/core/result_test.cc".
std::string RoomOf(const std::string& path) {
  const auto first = path.find('/');
  const auto second = path.find('/', first + 1);
  return path.substr(0, second == std::string::npos ? first : second);
}

std::string TopOf(const std::string& path) { return path.substr(0, path.find('/')); }

bool IsMain(const std::string& path) { return fs::path(path).filename() == "main.cc"; }

bool IsWordPart(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

std::string ReadAll(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

// A word stands alone: "rand(" is not in "operand(", ".system(" is somebody's method.
bool HasWord(const std::string& text, const std::string& word) {
  for (auto at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) {
    const char before = at == 0 ? ' ' : text[at - 1];
    const char last = word.back();
    const auto end = at + word.size();
    const bool ends = !IsWordPart(last) || end >= text.size() || !IsWordPart(text[end]);
    if (!IsWordPart(before) && before != '.' && before != '"' && ends) return true;
  }
  return false;
}

void CheckInclude(const std::string& path, const std::string& included, std::size_t number) {
  if (included.find('/') == std::string::npos) {
    return Report(path, number, "includes \"" + included + "\" without its folder");
  }
  const std::string from = RoomOf(path), to = RoomOf(included);
  const std::string from_top = TopOf(path), to_top = TopOf(included);
  if (from == to || from_top == "tests" || from_top == "bench") return;
  if (to_top == "tests" || to_top == "bench") {
    return Report(path, number, "nothing uses tests and bench: " + included);
  }
  if (from_top != "simulator" && to_top == "simulator") {
    return Report(path, number, "nothing but tests and bench uses the simulator: " + included);
  }
  if (IsMain(path)) return;
  const auto table = kMayInclude.find(from);
  if (table == kMayInclude.end()) {
    if (from_top == "simulator") return;
    return Report(path, number, from + " is not in the include table of tests/tidy");
  }
  if (!table->second.contains(to)) {
    Report(path, number, from + " may not include " + to + " (" + included + ")");
  }
}

void CheckWords(const std::string& path, const std::string& line, std::size_t number) {
  const std::string code = line.substr(0, line.find("//"));
  for (const Banned& banned : kBanned) {
    if (!HasWord(code, banned.word)) continue;
    const auto& allowed = banned.allowed;
    if (allowed.contains(path) || allowed.contains(RoomOf(path)) ||
        (IsMain(path) && allowed.contains("main.cc"))) {
      continue;
    }
    Report(path, number, "\"" + banned.word + "\": use " + banned.instead);
  }
}

// What the whole tree says, for the checks that need all of it.
struct Tree {
  std::map<std::string, std::string> sources;  // path from the root -> text
  std::map<std::string, std::string> lists;    // folder -> text of its CMakeLists.txt
  std::set<std::string> included;
};

Tree ReadTree(const fs::path& root) {
  Tree tree;
  for (const char* top : {"base", "csi", "snapshotter", "simulator", "tests", "bench"}) {
    for (const auto& entry : fs::recursive_directory_iterator(root / top)) {
      if (!entry.is_regular_file()) continue;
      const fs::path path = fs::relative(entry.path(), root);
      const std::string extension = path.extension().string();
      if (extension == ".cc" || extension == ".h") {
        tree.sources[path.string()] = ReadAll(entry.path());
      } else if (path.filename() == "CMakeLists.txt") {
        tree.lists[path.parent_path().string()] = ReadAll(entry.path());
      }
    }
  }
  return tree;
}

void CheckText(Tree& tree, const std::string& path, const std::string& text) {
  constexpr std::string_view kInclude = "#include \"";
  std::istringstream lines(text);
  std::string line;
  std::size_t number = 0;
  // The words' own table is the one file that cannot do without them.
  const bool has_words = path != "tests/tidy/tidy_tree.cc";
  while (std::getline(lines, line)) {
    ++number;
    if (line.starts_with(kInclude)) {
      const std::string included = line.substr(kInclude.size(), line.rfind('"') - kInclude.size());
      tree.included.insert(included);
      CheckInclude(path, included, number);
    } else if (has_words) {
      CheckWords(path, line, number);
    }
  }
  if (number > kMostLines) Report(path, number, "look for the second idea in so many lines");
  if (path.ends_with(".h") && text.find("#pragma once\n") == std::string::npos) {
    Report(path, 1, "a header without #pragma once");
  }
}

// In tests a null ends one test, and says where.
void CheckDereferences(const std::string& path, const std::string& text) {
  if (TopOf(path) == "tests" || TopOf(path) == "bench") return;
  for (const auto& found : thinsnap::tidy::UncheckedDereferences(text)) {
    Report(path, found.line,
           "what " + found.finder +
               " answers is dereferenced before it is looked at: check it, or use ValueAt, "
               "ObjectAt, ArrayAt, EnsureObject or EnsureArray");
  }
}

void CheckDepth(const std::string& path) {
  // Tests of a tier lie in folders that mirror the tree's rooms.
  const auto most = TopOf(path) == "tests" ? 3 : 2;
  if (std::count(path.begin(), path.end(), '/') > most) {
    Report(path, 1, "lies below the second level of folders");
  }
}

// A .cc is named by a CMakeLists.txt of its folder or of one above; a header is included.
void CheckUsed(const Tree& tree, const std::string& path) {
  if (path.ends_with(".h")) {
    if (!tree.included.contains(path)) Report(path, 1, "nothing includes it");
    return;
  }
  const std::string name = fs::path(path).filename().string();
  for (fs::path folder = fs::path(path).parent_path(); !folder.empty();
       folder = folder.parent_path()) {
    const auto list = tree.lists.find(folder.string());
    if (list != tree.lists.end() && HasWord(list->second, name)) return;
  }
  Report(path, 1, "no CMakeLists.txt names it");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cout << "usage: tidy_tree SOURCE_FOLDER\n";
    return 2;
  }
  Tree tree = ReadTree(fs::canonical(argv[1]));
  for (const auto& [path, text] : tree.sources) {
    CheckText(tree, path, text);
    CheckDereferences(path, text);
    CheckDepth(path);
  }
  for (const auto& [path, text] : tree.sources) CheckUsed(tree, path);
  std::cout << tree.sources.size() << " files, " << problems << " problems\n";
  return problems == 0 ? 0 : 1;
}
