#include "snapshotter/repo/verify.h"

#include <set>
#include <unordered_map>
#include <utility>

#include "snapshotter/repo/pack.h"
#include "snapshotter/repo/point_store.h"

namespace thinsnap::repo {
namespace {

class Verifier {
 public:
  Verifier(Repository& repository, const VerifyProgress& progress)
      : store_(repository.store()), keyring_(repository.keyring()), progress_(progress) {}

  Result<VerifyReport> Run() {
    TRY(CheckPoints());
    TRY(CheckPacks());
    for (const char* prefix : {"sessions/", "gc/"}) TRY(CheckSealed(prefix));
    return std::move(report_);
  }

 private:
  struct Named {
    PackTable::Entry entry;
    PointName by;  // the first
    PointName last;
    int points = 0;
    bool found = false;
  };

  static std::string WhoNeeds(const Named& named) {
    if (named.points == 1) return "point " + named.by.str() + " needs it";
    return std::to_string(named.points) + " points need it, of them " + named.by.str();
  }

  void Blame(const std::string& object, const std::string& what) {
    report_.problems.push_back({object, what});
  }

  void Name(const PackId& id, const PackTable::Entry& entry, const PointName& by) {
    const auto [found, fresh] = named_.try_emplace(id, Named{entry, by, PointName(), 0, false});
    Named& named = found->second;
    if (named.last.str() != by.str()) ++named.points;
    named.last = by;
    const PackTable::Entry& known = named.entry;
    if (!fresh && (known.kind != entry.kind || known.total != entry.total) && known.total != 0 &&
        entry.total != 0) {
      Blame(PointKey(by), "its pack table does not agree with that of point " + named.by.str() +
                              " about pack " + id.Hex());
    }
  }

  Status CheckPoints() {
    std::set<std::string> keys;
    std::vector<std::pair<PointName, std::string>> expected;  // who, and whom it saw
    for (const ListedPoint& listed : TRY(ListPointKeys(store_, ""))) {
      const std::string key = PointKey(listed.name);
      keys.insert(key);
      auto object = ReadPointObject(store_, keyring_, listed.name);
      if (object.Is(Code::kNotFound)) continue;
      if (object.Is(Code::kDataLoss) || object.Is(Code::kFailedPrecondition)) {
        Blame(key, object.error().message());
        continue;
      }
      if (!object.ok()) return std::move(object).error();
      const Point* point = std::get_if<Point>(&*object);
      if (point == nullptr) continue;
      ++report_.points;
      for (const std::string& other : point->seen) {
        expected.emplace_back(listed.name, SeriesPrefix(listed.parts.series) + other);
      }
      auto table = ReadPackTable(store_, keyring_, *point);
      if (table.Is(Code::kDataLoss)) {
        Blame(key, table.error().message());
        continue;
      }
      if (!table.ok()) return std::move(table).error();
      for (const auto& [id, entry] : table->entries()) Name(id, entry, listed.name);
      for (const TableRun& run : point->table_runs) {
        for (const RecordPlace& piece : run) {
          Name(piece.pack, {PackKind::kMap, piece.epoch, 0, 0}, listed.name);
        }
      }
      report_.sound_points.push_back(listed.name);
    }
    for (const auto& [by, key] : expected) {
      if (!keys.contains(key))
        Blame(key,
              "it was there when point " + by.str() + " was written, and is gone without a void");
    }
    return {};
  }

  Status CheckPacks() {
    std::vector<store::ObjectInfo> packs;
    std::uint64_t total = 0;
    TRY(store::ListAll(store_, "packs/", [&](const store::ObjectInfo& info) -> Status {
      packs.push_back(info);
      total += info.size;
      return {};
    }));
    for (const store::ObjectInfo& info : packs) {
      PackKind kind = PackKind::kData;
      PackId id;
      report_.pack_bytes += info.size;
      if (!ParsePackKey(info.key, kind, id)) {
        Blame(info.key, "it is no pack's name");
        continue;
      }
      ++report_.packs;
      const auto named = named_.find(id);
      if (named == named_.end()) {
        ++report_.unnamed_packs;
      } else {
        named->second.found = true;
      }
      const Status checked =
          CheckOne(info.key, kind, id, named == named_.end() ? nullptr : &named->second);
      if (checked.Is(Code::kDataLoss) || checked.Is(Code::kFailedPrecondition)) {
        Blame(info.key,
              checked.error().message() + "; " +
                  (named == named_.end() ? "no point needs it" : WhoNeeds(named->second)));
      } else if (!checked.ok()) {
        return checked;
      }
      if (progress_) progress_(report_.pack_bytes, total);
    }
    for (const auto& [id, named] : named_) {
      if (!named.found) {
        Blame(PackKey(named.entry.kind, id), "it is missing; " + WhoNeeds(named));
      }
    }
    return {};
  }

  Status CheckSealed(const std::string& prefix) {
    std::vector<std::string> keys;
    TRY(store::ListAll(store_, prefix, [&](const store::ObjectInfo& info) -> Status {
      keys.push_back(info.key);
      return {};
    }));
    for (const std::string& key : keys) {
      auto object = store_.Get(key);
      if (object.Is(Code::kNotFound)) continue;  // its writer is done
      if (!object.ok()) return std::move(object).error();
      const auto opened = keyring_.OpenObject(key, object->bytes);
      if (!opened.ok()) Blame(key, opened.error().message());
    }
    return {};
  }

  Status CheckOne(const std::string& key, PackKind kind, const PackId& id, const Named* named) {
    auto object = store_.Get(key);
    if (object.Is(Code::kNotFound))
      return {};  // collected meanwhile; if it is named, it is missed below
    if (!object.ok()) return std::move(object).error();
    const PackTail tail = TRY(CheckPack(key, object->bytes));
    const PackTrailer trailer = TRY(
        OpenPackTrailer(keyring_, kind, id, tail.epoch, tail.trailer_offset,
                        ByteSpan(object->bytes).subspan(tail.trailer_offset, tail.trailer_length)));
    if (named != nullptr && named->entry.total != 0 && named->entry.total != trailer.units) {
      return Error(Code::kDataLoss, "pack " + key + " holds " + std::to_string(trailer.units) +
                                        " blocks or nodes; point " + named->by.str() + " counts " +
                                        std::to_string(named->entry.total));
    }
    return {};
  }

  store::ObjectStore& store_;
  const Keyring& keyring_;
  const VerifyProgress& progress_;
  std::unordered_map<PackId, Named> named_;
  VerifyReport report_;
};

}  // namespace

Result<VerifyReport> VerifyStructure(Repository& repository, const VerifyProgress& progress) {
  return Verifier(repository, progress).Run();
}

}  // namespace thinsnap::repo
