// The examples of AWS's own documentation ("Signature Calculations for the Authorization Header").
#include "snapshotter/store/sigv4.h"

#include <gtest/gtest.h>

namespace thinsnap::store {
namespace {

constexpr const char* kEmptyHash =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
constexpr const char* kHost = "examplebucket.s3.amazonaws.com";
constexpr const char* kDate = "20130524T000000Z";

std::string Sign(const SigV4Request& request) {
  const SigV4Scope scope{.date = "20130524", .region = "us-east-1"};
  const Bytes key = SigningKey(Secret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"), scope);
  return SigV4Signature(key, StringToSign(kDate, scope, CanonicalRequest(request)));
}

TEST(SigV4Test, SignsAGet) {
  SigV4Request request{.method = "GET",
                       .path = "/test.txt",
                       .query = {},
                       .signed_headers = {{"x-amz-date", kDate},
                                          {"host", kHost},
                                          {"range", "bytes=0-9"},
                                          {"x-amz-content-sha256", kEmptyHash}},
                       .payload_hash = kEmptyHash};
  EXPECT_EQ(SignedHeaderNames(request), "host;range;x-amz-content-sha256;x-amz-date");
  EXPECT_EQ(Sign(request), "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

TEST(SigV4Test, SignsAPutWithAnUnusualName) {
  const std::string hash = Sha256Hex(AsBytes("Welcome to Amazon S3."));
  EXPECT_EQ(hash, "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072");
  const SigV4Request request{.method = "PUT",
                             .path = "/test$file.text",
                             .query = {},
                             .signed_headers = {{"date", "Fri, 24 May 2013 00:00:00 GMT"},
                                                {"host", kHost},
                                                {"x-amz-content-sha256", hash},
                                                {"x-amz-date", kDate},
                                                {"x-amz-storage-class", "REDUCED_REDUNDANCY"}},
                             .payload_hash = hash};
  EXPECT_EQ(Sign(request), "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
}

TEST(SigV4Test, SignsParameters) {
  SigV4Request request{.method = "GET",
                       .path = "/",
                       .query = {{"lifecycle", ""}},
                       .signed_headers = {{"host", kHost},
                                          {"x-amz-content-sha256", kEmptyHash},
                                          {"x-amz-date", kDate}},
                       .payload_hash = kEmptyHash};
  EXPECT_EQ(Sign(request), "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
  request.query = {{"prefix", "J"}, {"max-keys", "2"}};
  EXPECT_EQ(Sign(request), "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

TEST(SigV4Test, SqueezesSpacesInHeaders) {
  const SigV4Request request{.method = "GET",
                             .path = "/",
                             .query = {},
                             .signed_headers = {{"a", "  one   two "}},
                             .payload_hash = "x"};
  EXPECT_EQ(CanonicalRequest(request), "GET\n/\n\na:one two\n\na\nx");
}

TEST(SigV4Test, ReadsItsOwnDates) {
  const auto time = ParseAmzDate("20130524T012345Z");
  ASSERT_TRUE(time.ok());
  EXPECT_EQ(FormatAmzDate(*time), "20130524T012345Z");
  for (const char* bad :
       {"", "20130524", "20130524T012345", "2013-05-24T01:23:45Z", "20131324T012345Z"}) {
    EXPECT_FALSE(ParseAmzDate(bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace thinsnap::store
