#include "csi/mount/mount_table.h"

#include <charconv>
#include <map>
#include <sys/mount.h>
#include <sys/sysmacros.h>

namespace thinsnap::mount {
namespace {

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const auto at = text.find(separator);
    parts.push_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

// The kernel writes space, tab, line feed and backslash as three octal digits.
std::string Unescape(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    int value = 0;
    if (text[i] == '\\' && i + 3 < text.size() &&
        std::from_chars(text.data() + i + 1, text.data() + i + 4, value, 8).ptr ==
            text.data() + i + 4) {
      plain += static_cast<char>(value);
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

bool HasWord(std::string_view list, std::string_view word) {
  for (const auto part : Split(list, ',')) {
    if (part == word) return true;
  }
  return false;
}

bool ParseLine(std::string_view line, MountEntry& entry) {
  // id parent major:minor root target options [optional...] - type source super-options
  const auto fields = Split(line, ' ');
  std::size_t dash = 6;
  while (dash < fields.size() && fields[dash] != "-") ++dash;
  if (fields.size() < 7 || dash + 3 >= fields.size()) return false;
  const auto numbers = Split(fields[2], ':');
  if (numbers.size() != 2) return false;
  unsigned major_number = 0, minor_number = 0;
  if (std::from_chars(numbers[0].data(), numbers[0].data() + numbers[0].size(), major_number).ec !=
          std::errc() ||
      std::from_chars(numbers[1].data(), numbers[1].data() + numbers[1].size(), minor_number).ec !=
          std::errc()) {
    return false;
  }
  entry.device = makedev(major_number, minor_number);
  entry.root = Unescape(fields[3]);
  entry.target = Unescape(fields[4]);
  entry.fs_type = Unescape(fields[dash + 1]);
  entry.source = Unescape(fields[dash + 2]);
  entry.read_only = HasWord(fields[5], "ro") || HasWord(fields[dash + 3], "ro");
  return true;
}

}  // namespace

std::vector<MountEntry> ParseMountTable(std::string_view text) {
  std::vector<MountEntry> entries;
  for (const auto line : Split(text, '\n')) {
    MountEntry entry;
    if (ParseLine(line, entry)) entries.push_back(std::move(entry));
  }
  return entries;
}

MountOptions ParseMountOptions(const std::vector<std::string>& words) {
  static const std::map<std::string, unsigned long> kSet = {
      {"ro", MS_RDONLY},         {"nosuid", MS_NOSUID},
      {"nodev", MS_NODEV},       {"noexec", MS_NOEXEC},
      {"sync", MS_SYNCHRONOUS},  {"dirsync", MS_DIRSYNC},
      {"noatime", MS_NOATIME},   {"nodiratime", MS_NODIRATIME},
      {"relatime", MS_RELATIME}, {"strictatime", MS_STRICTATIME},
      {"lazytime", MS_LAZYTIME}, {"silent", MS_SILENT},
      {"mand", MS_MANDLOCK},     {"nosymfollow", 256}};
  static const std::map<std::string, unsigned long> kClear = {{"rw", MS_RDONLY},
                                                              {"suid", MS_NOSUID},
                                                              {"dev", MS_NODEV},
                                                              {"exec", MS_NOEXEC},
                                                              {"async", MS_SYNCHRONOUS},
                                                              {"atime", MS_NOATIME},
                                                              {"diratime", MS_NODIRATIME},
                                                              {"nolazytime", MS_LAZYTIME},
                                                              {"defaults", 0},
                                                              {"auto", 0},
                                                              {"noauto", 0},
                                                              {"nofail", 0},
                                                              {"_netdev", 0}};
  MountOptions options;
  for (const std::string& given : words) {
    for (const auto part : Split(given, ',')) {
      const std::string word(part);
      if (word.empty()) continue;
      if (const auto set = kSet.find(word); set != kSet.end()) {
        options.flags |= set->second;
      } else if (const auto clear = kClear.find(word); clear != kClear.end()) {
        options.flags &= ~clear->second;
      } else {
        if (!options.data.empty()) options.data += ',';
        options.data += word;
      }
    }
  }
  return options;
}

}  // namespace thinsnap::mount
