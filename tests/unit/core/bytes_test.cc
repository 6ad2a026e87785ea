#include "base/core/bytes.h"

#include <gtest/gtest.h>

#include "base/core/random.h"

namespace thinsnap {
namespace {

TEST(BytesTest, SpellsTheVectorsOfRfc4648) {
  EXPECT_EQ(Base64Encode(AsBytes("")), "");
  EXPECT_EQ(Base64Encode(AsBytes("f")), "Zg==");
  EXPECT_EQ(Base64Encode(AsBytes("foobar")), "Zm9vYmFy");
  EXPECT_EQ(HexEncode(AsBytes("foobar")), "666f6f626172");
}

TEST(BytesTest, DecodesWhatItEncodes) {
  SeededRandom random(1);
  for (std::size_t length = 0; length < 70; ++length) {
    Bytes bytes(length);
    random.Fill(bytes);
    EXPECT_EQ(*Base64Decode(Base64Encode(bytes)), bytes);
    EXPECT_EQ(*Base64Decode(Base64UrlEncode(bytes)), bytes);
    EXPECT_EQ(*HexDecode(HexEncode(bytes)), bytes);
  }
}

TEST(BytesTest, RefusesWhatIsNoEncoding) {
  EXPECT_FALSE(HexDecode("abc").ok());
  EXPECT_FALSE(HexDecode("zz").ok());
  EXPECT_FALSE(Base64Decode("a").ok());
  EXPECT_FALSE(Base64Decode("ab c").ok());
  EXPECT_TRUE(Base64Decode("Zg==").ok());
  EXPECT_FALSE(Base64Decode("Zh==").ok()) << "another spelling of the same byte";
}

TEST(BytesTest, FindsTheOneByteThatIsNotZero) {
  Bytes bytes(1000, 0);
  EXPECT_TRUE(IsZero(bytes));
  EXPECT_TRUE(IsZero({}));
  for (const std::size_t place : {0U, 1U, 499U, 999U}) {
    bytes[place] = 1;
    EXPECT_FALSE(IsZero(bytes)) << place;
    bytes[place] = 0;
  }
}

TEST(BytesTest, SizesReadAsPeopleSayThem) {
  EXPECT_EQ(FormatSize(0), "0 B");
  EXPECT_EQ(FormatSize(1023), "1023 B");
  EXPECT_EQ(FormatSize(1536), "1.5 KiB");
  EXPECT_EQ(FormatSize(3 * kGiB), "3.0 GiB");
}

}  // namespace
}  // namespace thinsnap
