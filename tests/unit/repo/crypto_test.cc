#include "snapshotter/repo/crypto.h"

#include "tests/unit/repo/repo_fixture.h"

namespace thinsnap::repo {
namespace {

Bytes FromHex(std::string_view hex) {
  auto bytes = HexDecode(hex);
  return bytes.ok() ? *bytes : Bytes();
}

TEST(CryptoTest, HkdfHasTheRfcsFirstBlock) {
  // RFC 5869, test case 1, the first 32 of its 42 bytes.
  const Bytes secret(22, 0x0b);
  const Bytes salt = FromHex("000102030405060708090a0b0c");
  const Bytes info = FromHex("f0f1f2f3f4f5f6f7f8f9");
  EXPECT_EQ(HexEncode(DeriveKey(secret, salt, AsText(info)).bytes()),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf");
}

TEST(CryptoTest, Crc32cHasTheCheckValueInAnyPieces) {
  const std::string text = "123456789";
  EXPECT_EQ(Crc32c(AsBytes(text)), 0xe3069283U);
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    const std::uint32_t head = Crc32c(AsBytes(text).first(cut));
    EXPECT_EQ(Crc32c(AsBytes(text).subspan(cut), head), 0xe3069283U);
  }
  EXPECT_EQ(Crc32c(Bytes(32, 0)), 0x8a9136aaU);  // RFC 3720, B.4
  EXPECT_EQ(Crc32c(Bytes(32, 0xff)), 0x62a8ab43U);
}

TEST(CryptoTest, FingerprintIsTheHmacCut) {
  SeededRandom random(1);
  Fingerprinter fingerprinter(TestKey(9));
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{65536}}) {
    const Bytes block = RandomBytes(random, size);
    const auto mac = HmacSha256(TestKey(9).bytes(), block);
    const Fingerprint fingerprint = fingerprinter.Of(block);
    EXPECT_TRUE(std::equal(fingerprint.begin(), fingerprint.end(), mac.begin()));
  }
}

class RecordCipherTest : public ::testing::TestWithParam<Suite> {};

TEST_P(RecordCipherTest, OpensOnlyWhatWasSealedThere) {
  SeededRandom random(2);
  RecordCipher cipher(GetParam(), TestKey(3));
  const Bytes plain = RandomBytes(random, 1000);
  Bytes sealed(plain.size() + kTagBytes);
  cipher.Seal(77, AsBytes("where"), plain, sealed);
  Bytes out(plain.size());
  EXPECT_TRUE(cipher.Open(77, AsBytes("where"), sealed, out));
  EXPECT_EQ(out, plain);
  EXPECT_FALSE(cipher.Open(78, AsBytes("where"), sealed, out));
  EXPECT_FALSE(cipher.Open(77, AsBytes("there"), sealed, out));
  EXPECT_FALSE(RecordCipher(GetParam(), TestKey(4)).Open(77, AsBytes("where"), sealed, out));
  for (std::size_t i = 0; i < sealed.size(); i += 13) {
    Bytes damaged = sealed;
    damaged[i] ^= 1;
    EXPECT_FALSE(cipher.Open(77, AsBytes("where"), damaged, out)) << i;
  }
  EXPECT_FALSE(cipher.Open(77, AsBytes("where"), ByteSpan(sealed).first(15), {}));
}

TEST_P(RecordCipherTest, SealsNothingToo) {
  RecordCipher cipher(GetParam(), TestKey(3));
  Bytes sealed(kTagBytes);
  cipher.Seal(0, {}, {}, sealed);
  EXPECT_TRUE(cipher.Open(0, {}, sealed, {}));
  sealed[3] ^= 4;
  EXPECT_FALSE(cipher.Open(0, {}, sealed, {}));
}

INSTANTIATE_TEST_SUITE_P(Suites, RecordCipherTest,
                         ::testing::Values(Suite::kPlain, Suite::kSealed));

class KeyringTest : public BothSuites {};

TEST_P(KeyringTest, ObjectsOpenUnderTheirNameOnly) {
  const Bytes payload = RandomBytes(random_, 300);
  const Bytes object = ring_.SealObject(random_, "points/a/b.1", payload);
  const auto opened = ring_.OpenObject("points/a/b.1", object);
  ASSERT_OK(opened);
  EXPECT_EQ(*opened, payload);
  EXPECT_TRUE(ring_.OpenObject("points/a/b.2", object).Is(Code::kDataLoss));
  for (std::size_t i = 0; i < object.size(); ++i) {
    Bytes damaged = object;
    damaged[i] ^= 0x20;
    EXPECT_FALSE(ring_.OpenObject("points/a/b.1", damaged).ok()) << i;
    EXPECT_TRUE(CheckObjectFrame("x", damaged).Is(Code::kDataLoss)) << "without a key, at " << i;
  }
  for (std::size_t size = 0; size < object.size(); ++size) {
    EXPECT_TRUE(ring_.OpenObject("points/a/b.1", ByteSpan(object).first(size)).Is(Code::kDataLoss));
  }
}

TEST_P(KeyringTest, OtherRingsOpenNothing) {
  const Bytes object = ring_.SealObject(random_, "name", Bytes(10, 1));
  const Keyring other = GetParam() == Suite::kSealed
                            ? Keyring(kTestId, 1, TestKey(8), TestKey(2))
                            : Keyring(RepositoryId("01hzy3v7q4e8r2t6m9k1w5x0zc"));
  EXPECT_TRUE(other.OpenObject("name", object).Is(Code::kDataLoss));
  EXPECT_TRUE(TestRing(GetParam() == Suite::kSealed ? Suite::kPlain : Suite::kSealed)
                  .OpenObject("name", object)
                  .Is(Code::kDataLoss));
  EXPECT_NE(other.KeyedName("a", "text"), ring_.KeyedName("b", "text"));
}

INSTANTIATE_TEST_SUITE_P(Suites, KeyringTest, ::testing::Values(Suite::kPlain, Suite::kSealed));

}  // namespace
}  // namespace thinsnap::repo
