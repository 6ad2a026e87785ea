#include "snapshotter/repo/repository.h"

#include "snapshotter/repo/key_slot.h"
#include "snapshotter/repo/point_store.h"
#include "snapshotter/repo/repository_file.h"
#include "snapshotter/repo/session.h"
#include "snapshotter/repo/tombstone.h"
#include "tests/unit/repo/repo_fixture.h"

namespace thinsnap::repo {
namespace {

constexpr const char* kUlid = "01hzy3v7q4e8r2t6m9k1w5x0zb";

class RepositoryTest : public ::testing::Test {
 protected:
  InitOptions Options(const std::string& passphrase) {
    InitOptions options;
    options.kdf = {64, 1, 1};
    if (!passphrase.empty()) options.passphrase = Secret(passphrase);
    return options;
  }
  auto Init(const std::string& passphrase) {
    return InitRepository(store_, runtime_, random_, Options(passphrase));
  }
  auto Open(const std::string& passphrase, const std::string& id = "",
            std::optional<Suite> suite = std::nullopt) {
    OpenOptions options;
    if (!passphrase.empty()) options.passphrase = Secret(passphrase);
    options.expected_id = id;
    options.expected_suite = suite;
    return OpenRepository(store_, runtime_, random_, options);
  }
  Bytes Read(const std::string& key) {
    auto object = store_.Get(key);
    EXPECT_TRUE(object.ok()) << key;
    return object.ok() ? object->bytes : Bytes();
  }
  std::vector<std::string> Keys() {
    std::vector<std::string> keys;
    EXPECT_TRUE(store::ListAll(store_, "", [&](const auto& info) {
                  keys.push_back(info.key);
                  return Status();
                }).ok());
    return keys;
  }
  Point SomePoint(const std::string& series, int attempt) {
    Point point;
    point.info.name = MakePointName(series, kUlid, attempt);
    point.info.series = series;
    point.info.snapshot = kUlid;
    point.info.attempt = attempt;
    point.info.cut = FromUnixSeconds(1700000000);
    point.info.size_bytes = 10 * kMiB;
    point.info.mode_reason = "because";
    point.info.attributes = JsonObject{{"a", 1}};
    point.inline_table = PackTable().Encode();
    point.seen = {"01hzy3v7q4e8r2t6m9k1w5x0za.1"};
    return point;
  }
  void PutPoint(const Repository& repository, const Point& point) {
    const std::string key = PointKey(point.info.name);
    auto payload = EncodePoint(point);
    ASSERT_OK(payload);
    ASSERT_OK(store_.Put(key, repository.keyring().SealObject(random_, key, *payload)));
  }

  SystemClock clock_;
  ThreadRuntime runtime_{clock_};
  SeededRandom random_{11};
  store::MemoryObjectStore store_{clock_};
};

TEST_F(RepositoryTest, SealedOpensWithItsPassphraseOnly) {
  auto made = Init("open sesame");
  ASSERT_OK(made);
  auto opened = Open("open sesame", (*made)->id().str(), Suite::kSealed);
  ASSERT_OK(opened);
  EXPECT_EQ((*opened)->id(), (*made)->id());
  EXPECT_EQ((*opened)->keyring().KeyedName("a", "b"), (*made)->keyring().KeyedName("a", "b"));
  EXPECT_TRUE(Open("open sesam").Is(Code::kUnauthenticated));
  EXPECT_TRUE(Open("").Is(Code::kFailedPrecondition));
  EXPECT_TRUE(Open("open sesame", "01hzy3v7q4e8r2t6m9k1w5x0zb").Is(Code::kFailedPrecondition));
  EXPECT_TRUE(Open("open sesame", "", Suite::kPlain).Is(Code::kFailedPrecondition));
  const auto header = ReadRepositoryHeader(store_);
  ASSERT_OK(header);
  EXPECT_EQ(header->suite, Suite::kSealed);
}

// Editors end a file with a line end, shells drop it, Secrets keep it.
TEST_F(RepositoryTest, ALineEndAtTheEndIsNoPartOfAPassphrase) {
  const auto clear = [this] {
    for (const std::string& key : Keys()) ASSERT_OK(store_.Delete(key));
  };
  // The last one makes a slot as they were once made from a text with a line end.
  for (const char* given : {"open sesame", "open sesame\n", "open sesame\r\n", "open sesame\n\n"}) {
    clear();
    ASSERT_OK(Init(given));
    for (const char* later : {"open sesame", "open sesame\n"})
      EXPECT_TRUE(Open(later).ok()) << ToJson(Json(given)) << " and " << ToJson(Json(later));
    EXPECT_TRUE(Open("open sesame\n\n\n").Is(Code::kUnauthenticated));
    EXPECT_TRUE(Open("open\nsesame").Is(Code::kUnauthenticated));
  }
  clear();
  EXPECT_TRUE(Init("\n").Is(Code::kInvalidArgument));
}

TEST_F(RepositoryTest, WhoHasAPassphraseAcceptsNoPlainOne) {
  ASSERT_OK(Init(""));
  ASSERT_OK(Open("", "", Suite::kPlain));
  EXPECT_TRUE(Open("open sesame").Is(Code::kFailedPrecondition));
  EXPECT_TRUE(Open("", "", Suite::kSealed).Is(Code::kFailedPrecondition));
}

TEST_F(RepositoryTest, InitRefusesWhatIsThere) {
  EXPECT_TRUE(Open("").Is(Code::kNotFound));
  ASSERT_OK(Init("a"));
  EXPECT_TRUE(Init("a").Is(Code::kAlreadyExists));
  EXPECT_TRUE(Init("").Is(Code::kAlreadyExists));
  ASSERT_OK(store_.Delete("repo.json"));
  ASSERT_OK(Init("b"));  // a slot alone holds nothing up
  ASSERT_OK(store_.Delete("repo.json"));
  ASSERT_OK(store_.Put("points/x/y", Bytes(1, 1)));
  EXPECT_TRUE(Init("c").Is(Code::kFailedPrecondition));
  ASSERT_OK(store_.Delete("points/x/y"));
  ASSERT_OK(store_.Put("packs/data/00/00", Bytes(1, 1)));
  EXPECT_TRUE(Init("c").Is(Code::kFailedPrecondition));
}

// Takes every PUT, or refuses those with a condition.
class UnconditionalStore final : public store::ObjectStore {
 public:
  UnconditionalStore(store::ObjectStore& inner, bool refuses) : inner_(inner), refuses_(refuses) {}
  Result<store::PutResult> Put(const std::string& key, ByteSpan body,
                               const store::PutCondition& condition) override {
    if (refuses_ && condition.if_absent) return Error(Code::kUnimplemented, "If-None-Match");
    return inner_.Put(key, body);
  }
  Result<store::Object> Get(const std::string& key,
                            std::optional<store::ByteRange> range) override {
    return inner_.Get(key, range);
  }
  Result<store::ObjectInfo> Head(const std::string& key) override { return inner_.Head(key); }
  Result<store::Page> List(const std::string& prefix, const std::string& after) override {
    return inner_.List(prefix, after);
  }
  Status Delete(const std::string& key) override { return inner_.Delete(key); }
  std::string Describe() const override { return inner_.Describe(); }

 private:
  store::ObjectStore& inner_;
  const bool refuses_;
};

TEST_F(RepositoryTest, InitRefusesAStoreWithoutConditionalWrites) {
  for (const bool refuses : {false, true}) {
    for (const char* passphrase : {"", "open sesame"}) {
      UnconditionalStore store(store_, refuses);
      const auto made = InitRepository(store, runtime_, random_, Options(passphrase));
      ASSERT_TRUE(made.Is(Code::kUnimplemented));
      EXPECT_NE(made.error().message().find("conditional writes"), std::string::npos);
      EXPECT_TRUE(Keys().empty()) << Keys().front();
    }
  }
}

TEST_F(RepositoryTest, EveryChangeOfFileOrSlotShows) {
  ASSERT_OK(Init("open sesame"));
  for (const std::string& key : Keys()) {
    const Bytes whole = Read(key);
    for (std::size_t i = 0; i < whole.size(); ++i) {
      Bytes damaged = whole;
      damaged[i] ^= 1;
      ASSERT_OK(store_.Put(key, damaged));
      auto opened = Open("open sesame");
      // White space means nothing in JSON; all else does.
      const bool means_nothing = whole[i] == ' ' || whole[i] == '\n';
      EXPECT_TRUE(!opened.ok() || means_nothing) << key << " at " << i;
    }
    ASSERT_OK(store_.Put(key, whole));
  }
  ASSERT_OK(Open("open sesame"));
}

TEST_F(RepositoryTest, NewerFormatsAreNamed) {
  ASSERT_OK(Init(""));
  std::string text(AsText(Read("repo.json")));
  text.replace(text.find("\"format\": 1"), 11, "\"format\": 2");
  ASSERT_OK(store_.Put("repo.json", AsBytes(text)));
  const auto opened = Open("");
  ASSERT_TRUE(opened.Is(Code::kFailedPrecondition));
  EXPECT_NE(opened.error().message().find("format 2"), std::string::npos);
}

TEST_F(RepositoryTest, SlotsCannotAskForEverything) {
  const std::string slot =
      R"({"kdf":"argon2id","memoryKiB":4194304,"passes":1,"lanes":1,"salt":"AAAA","epoch":1,"wrapped":"","mac":""})";
  EXPECT_TRUE(UnwrapKeys(kTestId, "s", slot, Secret("x")).Is(Code::kDataLoss));
}

TEST_F(RepositoryTest, PointsAreListedFoundAndForgotten) {
  auto made = Init("p");
  ASSERT_OK(made);
  Repository& repository = **made;
  PutPoint(repository, SomePoint("pool.b", 1));
  PutPoint(repository, SomePoint("pool.a", 2));
  PutPoint(repository, SomePoint("pool.a.longer", 1));
  ASSERT_OK(store_.Put("points/strange", Bytes(600, 1)));

  auto all = repository.ListPoints();
  ASSERT_OK(all);
  EXPECT_EQ(all->size(), 3U);
  auto one = repository.ListPoints("pool.a");
  ASSERT_OK(one);
  ASSERT_EQ(one->size(), 1U);
  const PointInfo& info = one->front();
  EXPECT_EQ(info.cut, FromUnixSeconds(1700000000));
  EXPECT_EQ(info.mode_reason, "because");
  EXPECT_EQ(ToJson(info.attributes), R"({"a":1})");
  EXPECT_GT(UnixSeconds(info.committed), 0);
  ASSERT_OK(repository.FindPoint("pool.a", kUlid));

  ASSERT_OK(repository.Forget(info.name));
  ASSERT_OK(repository.Forget(info.name));  // again is fine
  ASSERT_OK(repository.Forget(MakePointName("pool.a", kUlid, 9)));
  EXPECT_TRUE(repository.GetPoint(info.name).Is(Code::kNotFound));
  EXPECT_TRUE(repository.FindPoint("pool.a", kUlid).Is(Code::kNotFound));
  EXPECT_EQ(repository.ListPoints("pool.a")->size(), 0U);
  EXPECT_EQ(repository.ListPoints()->size(), 2U);
  // The void stays, and a listing tells it from a manifest.
  const auto keys = ListPointKeys(store_, "pool.a");
  ASSERT_OK(keys);
  ASSERT_EQ(keys->size(), 1U);
  EXPECT_TRUE(keys->front().looks_void);
  EXPECT_FALSE(ListPointKeys(store_, "pool.b")->front().looks_void);
}

TEST_F(RepositoryTest, DamagedPointsArePassedOver) {
  auto made = Init("p");
  ASSERT_OK(made);
  PutPoint(**made, SomePoint("s", 1));
  PutPoint(**made, SomePoint("s", 2));
  // One in place of the other.
  ASSERT_OK(store_.Put(PointKey(MakePointName("s", kUlid, 1)),
                       Read(PointKey(MakePointName("s", kUlid, 2)))));
  std::vector<std::string> damaged;
  auto points = (*made)->ListPoints("", [&](const PointName& name, const Error& error) {
    EXPECT_EQ(error.code(), Code::kDataLoss);
    damaged.push_back(name.str());
  });
  ASSERT_OK(points);
  EXPECT_EQ(points->size(), 1U);
  EXPECT_EQ(damaged, std::vector<std::string>{MakePointName("s", kUlid, 1).str()});
}

TEST_F(RepositoryTest, NamesAreChecked) {
  for (const char* name :
       {"", "a", "a/b", "a/01hzy3v7q4e8r2t6m9k1w5x0zb", "a/01hzy3v7q4e8r2t6m9k1w5x0zb.0",
        "a/01hzy3v7q4e8r2t6m9k1w5x0zb.01", "a/01hzy3v7q4e8r2t6m9k1w5x0zb.1x",
        "../01hzy3v7q4e8r2t6m9k1w5x0zb.1", "a/b/01hzy3v7q4e8r2t6m9k1w5x0zb.1"}) {
    EXPECT_TRUE(ParsePointName(name).Is(Code::kInvalidArgument)) << name;
  }
  ASSERT_OK(ParsePointName("p.v/01hzy3v7q4e8r2t6m9k1w5x0zb.12"));
  EXPECT_TRUE(CheckSeries(std::string(201, 'a')).Is(Code::kInvalidArgument));
}

TEST_F(RepositoryTest, PointsWithTooMuchBesideAreRefused) {
  Point point = SomePoint("s", 1);
  point.info.attributes = JsonObject{{"a", std::string(40 * kKiB, 'x')}};
  EXPECT_TRUE(EncodePoint(point).Is(Code::kInvalidArgument));
}

TEST_F(RepositoryTest, SessionsComeBack) {
  auto made = Init("p");
  ASSERT_OK(made);
  const Keyring& ring = (*made)->keyring();
  Session session;
  session.id = NewSessionId(ring, clock_.Now(), random_, "pool.v");
  session.series = "pool.v";
  session.point = MakePointName("pool.v", kUlid, 3);
  session.position_bytes = 12345;
  session.packs.resize(3);
  for (SessionPack& pack : session.packs) {
    pack = {PackId::Draw(random_), 1, 16384, 1000, 50, 7, 900};
  }
  const auto parsed = ParseSession(EncodeSession(session));
  ASSERT_OK(parsed);
  EXPECT_EQ(parsed->packs, session.packs);
  EXPECT_EQ(parsed->point, session.point);

  SessionKeeper keeper(store_, runtime_, random_, ring, session);
  ASSERT_OK(keeper.Open());
  auto found = FindSessions(store_, ring, "pool.v");
  ASSERT_OK(found);
  ASSERT_EQ(found->size(), 1U);
  EXPECT_FALSE(found->front().session.abandoned);
  EXPECT_EQ(FindSessions(store_, ring, "pool.w")->size(), 0U);
  ASSERT_OK(keeper.Abandon());
  found = FindSessions(store_, ring, "pool.v");
  EXPECT_TRUE(found->front().session.abandoned);
  EXPECT_NE(found->front().session.started, WallTime());
  ASSERT_OK(keeper.Delete());
  EXPECT_EQ(FindSessions(store_, ring, "pool.v")->size(), 0U);
}

TEST_F(RepositoryTest, TombstonesAddUp) {
  auto made = Init("p");
  ASSERT_OK(made);
  const Keyring& ring = (*made)->keyring();
  std::set<PackId> expected;
  for (const char* key : {"gc/1", "gc/2"}) {
    std::set<PackId> packs;
    for (int i = 0; i < 5; ++i) packs.insert(PackId::Draw(random_));
    ASSERT_OK(store_.Put(key, ring.SealObject(random_, key, EncodeTombstone(packs))));
    expected.merge(packs);
  }
  const auto read = ReadTombstones(store_, ring);
  ASSERT_OK(read);
  EXPECT_TRUE(*read == expected);
  ASSERT_OK(store_.Put("gc/3", Bytes(100, 1)));
  EXPECT_TRUE(ReadTombstones(store_, ring).Is(Code::kDataLoss));
}

}  // namespace
}  // namespace thinsnap::repo
