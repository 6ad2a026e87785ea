#include "snapshotter/repo/repository.h"

#include <algorithm>
#include <utility>

#include "snapshotter/repo/key_slot.h"
#include "snapshotter/repo/keyring.h"
#include "snapshotter/repo/point_store.h"
#include "snapshotter/repo/repository_file.h"
#include "snapshotter/repo/small_object.h"

namespace thinsnap::repo {
namespace {

constexpr std::uint64_t kSmallObject = 64 * kKiB;

class StoredRepository final : public Repository {
 public:
  StoredRepository(store::ObjectStore& store, Random& random, Keyring keyring)
      : store_(store), random_(random), keyring_(std::move(keyring)) {}

  const RepositoryId& id() const override { return keyring_.id(); }
  Suite suite() const override { return keyring_.suite(); }
  store::ObjectStore& store() override { return store_; }
  const Keyring& keyring() const override { return keyring_; }

  Result<std::vector<PointInfo>> ListPoints(
      const std::string& series,
      const std::function<void(const PointName&, const Error&)>& damaged) override {
    if (!series.empty()) TRY(CheckSeries(series));
    std::vector<PointInfo> points;
    for (const ListedPoint& listed : TRY(ListPointKeys(store_, series))) {
      auto point = ReadPoint(store_, keyring_, listed.name);
      if (point.Is(Code::kNotFound)) continue;
      if (point.Is(Code::kDataLoss)) {
        if (damaged) damaged(listed.name, point.error());
        continue;
      }
      if (!point.ok()) return std::move(point).error();
      points.push_back(std::move(point->info));
    }
    std::sort(points.begin(), points.end(), [](const PointInfo& a, const PointInfo& b) {
      return std::tie(a.snapshot, a.name) < std::tie(b.snapshot, b.name);
    });
    return points;
  }

  Result<PointInfo> GetPoint(const PointName& name) override {
    TRY(ParsePointName(name.str()));
    auto point = TRY(ReadPoint(store_, keyring_, name));
    return std::move(point.info);
  }

  Result<PointInfo> FindPoint(const std::string& series, const std::string& snapshot) override {
    TRY(CheckSeries(series));
    std::optional<Error> trouble;
    for (const ListedPoint& listed : TRY(ListPointKeys(store_, series))) {
      if (listed.parts.snapshot != snapshot) continue;
      auto point = ReadPoint(store_, keyring_, listed.name);
      if (point.ok()) return std::move(point->info);
      if (!point.Is(Code::kNotFound)) trouble = point.error();
    }
    if (trouble) return *trouble;
    return Error(Code::kNotFound, "series " + series + " has no point of snapshot " + snapshot);
  }

  Status Forget(const PointName& name) override {
    TRY(ParsePointName(name.str()));
    const std::string key = PointKey(name);
    const auto head = store_.Head(key);
    if (head.Is(Code::kNotFound)) return {};
    if (!head.ok()) return head.error();
    auto object = ReadPointObject(store_, keyring_, name);
    if (object.Is(Code::kNotFound)) return {};
    if (object.ok() && std::holds_alternative<Void>(*object)) return {};
    // A damaged manifest may be forgotten; what was not reached may not.
    if (!object.ok() && !object.Is(Code::kDataLoss)) return std::move(object).error();
    const Bytes sealed = keyring_.SealObject(random_, key, EncodeVoid({"forgotten", ""}));
    TRY(store_.Put(key, sealed).In("forget " + name.str()));
    return {};
  }

 private:
  store::ObjectStore& store_;
  Random& random_;
  const Keyring keyring_;
};

// A repository that has lost its repo.json: kDataLoss. Nothing of one here: kNotFound.
Error ExplainMissing(store::ObjectStore& store) {
  for (const char* prefix : {"packs/", "points/"}) {
    const auto page = store.List(prefix);
    if (!page.ok()) return page.error();
    if (page->objects.empty()) continue;
    return Error(Code::kDataLoss,
                 store.Describe() + " has no repo.json but holds " + page->objects.front().key +
                     ": a repository may have lost its repo.json; nothing was changed");
  }
  return Error(Code::kNotFound, store.Describe() + " holds no repository (there is no repo.json)");
}

Result<RepositoryFile> ReadRepositoryFile(store::ObjectStore& store) {
  auto object = GetSmallObject(store, kRepositoryFile, kSmallObject);
  if (object.Is(Code::kNotFound)) return ExplainMissing(store);
  if (!object.ok()) return std::move(object).error();
  return ParseRepositoryFile(AsText(object->bytes)).In(store.Describe());
}

// Puts what is not there yet, twice. The protocol of sessions and commits stands on the second one
// being refused.
Status PutOnce(store::ObjectStore& store, const std::string& key, std::string_view text) {
  const store::PutCondition if_absent{.if_absent = true, .if_match = {}};
  const auto first = store.Put(key, AsBytes(text), if_absent);
  if (!first.ok() && !first.Is(Code::kUnimplemented)) return first.error().In("write " + key);
  if (first.ok()) {
    const auto second = store.Put(key, AsBytes(text), if_absent);
    if (second.Is(Code::kFailedPrecondition)) return {};
    if (!second.ok() && !second.Is(Code::kUnimplemented)) return second.error().In("probe " + key);
    store.Delete(key).IgnoreError();  // of use to nobody without a repo.json
  }
  return Error(
      Code::kUnimplemented,
      store.Describe() +
          ": the store does not honour conditional writes (PUT with If-None-Match: *), so "
          "that two writers could overwrite each other's points; nothing was made. A store "
          "that does is accepted: AWS S3, MinIO, Ceph, or a folder");
}

Key DrawKey(Random& random) {
  Key key;
  random.Fill(key.mutable_bytes());
  return key;
}

}  // namespace

Result<RepositoryHeader> ReadRepositoryHeader(store::ObjectStore& store) {
  auto file = TRY(ReadRepositoryFile(store));
  return std::move(file.header);
}

Result<std::unique_ptr<Repository>> InitRepository(store::ObjectStore& store, Runtime& runtime,
                                                   Random& random, const InitOptions& options) {
  const auto head = store.Head(kRepositoryFile);
  if (head.ok()) {
    return Error(Code::kAlreadyExists, store.Describe() + " holds a repository already");
  }
  if (!head.Is(Code::kNotFound)) return head.error();
  const Error missing = ExplainMissing(store);
  if (missing.code() == Code::kDataLoss) return Error(Code::kFailedPrecondition, missing.message());
  if (missing.code() != Code::kNotFound) return missing;
  if (options.passphrase && options.passphrase->empty()) {
    return Error(Code::kInvalidArgument,
                 "the passphrase is empty; give one, or none for a plain repository");
  }
  const WallTime now = runtime.clock().Now();
  const RepositoryId id(NewUlid(now, random));
  Keyring keyring =
      options.passphrase ? Keyring(id, 1, DrawKey(random), DrawKey(random)) : Keyring(id);
  std::string slot;
  if (options.passphrase) {
    slot = NewUlid(now, random);
    const std::string wrapped =
        TRY(WrapKeys(random, keyring, slot, *options.passphrase, options.kdf));
    TRY(PutOnce(store, SlotKey(slot), wrapped));
  } else {
    const std::string probe = SlotKey(NewUlid(now, random));
    TRY(PutOnce(store, probe, "probe of conditional writes\n"));
    TRY(store.Delete(probe));
  }
  const std::string text = EncodeRepositoryFile(keyring, slot, now);
  const auto put = store.Put(kRepositoryFile, AsBytes(text), {.if_absent = true, .if_match = {}});
  if (put.Is(Code::kFailedPrecondition) || put.Is(Code::kUnknownOutcome)) {
    // Another init was faster, or our answer was lost: the object tells.
    const RepositoryFile found = TRY(ReadRepositoryFile(store));
    if (found.header.id != id) {
      return Error(Code::kAlreadyExists, store.Describe() + " holds a repository already");
    }
  } else if (!put.ok()) {
    return put.error().In("write repo.json");
  }
  return std::unique_ptr<Repository>(
      std::make_unique<StoredRepository>(store, random, std::move(keyring)));
}

Result<std::unique_ptr<Repository>> OpenRepository(store::ObjectStore& store, Runtime&,
                                                   Random& random, const OpenOptions& options) {
  const RepositoryFile file = TRY(ReadRepositoryFile(store));
  const RepositoryHeader& header = file.header;
  if (!options.expected_id.empty() && options.expected_id != header.id.str()) {
    return Error(Code::kFailedPrecondition, store.Describe() + " holds repository " +
                                                header.id.str() + "; expected " +
                                                options.expected_id);
  }
  if (options.expected_suite && *options.expected_suite != header.suite) {
    return Error(Code::kFailedPrecondition,
                 store.Describe() + " is of another suite than was pinned: it is not believed");
  }
  if (header.suite == Suite::kPlain) {
    if (options.passphrase) {
      return Error(Code::kFailedPrecondition,
                   store.Describe() +
                       " is a plain repository, but a passphrase was given: it may "
                       "have been replaced, and is not used");
    }
    Keyring keyring(header.id);
    TRY(CheckRepositoryMac(keyring, file));
    return std::unique_ptr<Repository>(
        std::make_unique<StoredRepository>(store, random, std::move(keyring)));
  }
  if (!options.passphrase) {
    return Error(Code::kFailedPrecondition,
                 store.Describe() + " is a sealed repository: it needs a passphrase");
  }
  auto slot = GetSmallObject(store, SlotKey(file.slot), kSmallObject);
  if (slot.Is(Code::kNotFound)) {
    return Error(Code::kDataLoss, store.Describe() + " lacks the key slot keys/" + file.slot +
                                      " that its repo.json names");
  }
  if (!slot.ok()) return std::move(slot).error();
  Keyring keyring = TRY(UnwrapKeys(header.id, file.slot, AsText(slot->bytes), *options.passphrase));
  TRY(CheckRepositoryMac(keyring, file));
  return std::unique_ptr<Repository>(
      std::make_unique<StoredRepository>(store, random, std::move(keyring)));
}

}  // namespace thinsnap::repo
