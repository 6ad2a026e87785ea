// AWS's documented examples through the server's door, and what must not get through.
#include "simulator/s3/s3_auth.h"

#include <gmock/gmock.h>

#include "simulator/s3/aws_chunked.h"

namespace thinsnap::s3 {
namespace {

constexpr const char* kEmptyHash =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

class S3AuthTest : public ::testing::Test {
 protected:
  void SetUp() override {
    now_ = *ParseRfc3339("2013-05-24T00:05:00Z");
    get_.method = "GET";
    get_.path = "/test.txt";
    get_.headers.Add("Host", "examplebucket.s3.amazonaws.com");
    get_.headers.Add(
        "Authorization",
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
        "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,"
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
    get_.headers.Add("Range", "bytes=0-9");
    get_.headers.Add("x-amz-content-sha256", kEmptyHash);
    get_.headers.Add("x-amz-date", "20130524T000000Z");

    presigned_.method = "GET";
    presigned_.path = "/test.txt";
    presigned_.headers.Add("Host", "examplebucket.s3.amazonaws.com");
    presigned_.query = {
        {"X-Amz-Algorithm", "AWS4-HMAC-SHA256"},
        {"X-Amz-Credential", "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request"},
        {"X-Amz-Date", "20130524T000000Z"},
        {"X-Amz-Expires", "86400"},
        {"X-Amz-SignedHeaders", "host"},
        {"X-Amz-Signature", "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"}};
  }

  S3Result<Authenticated> Check(const net::ServerRequest& request) {
    const store::Credentials credentials{
        "AKIAIOSFODNN7EXAMPLE", Secret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"), Secret()};
    return Authenticate(request, credentials, region_, now_);
  }
  std::string Verdict(const net::ServerRequest& request) {
    const auto result = Check(request);
    return result.ok() ? "ok" : result.error().code;
  }

  WallTime now_;
  std::string region_ = "us-east-1";
  net::ServerRequest get_;
  net::ServerRequest presigned_;
};

TEST_F(S3AuthTest, AcceptsTheExamples) {
  EXPECT_EQ(Verdict(get_), "ok");
  EXPECT_EQ(Verdict(presigned_), "ok");
}

TEST_F(S3AuthTest, NoticesEveryChange) {
  net::ServerRequest changed = get_;
  changed.path = "/test2.txt";
  EXPECT_EQ(Verdict(changed), "SignatureDoesNotMatch");
  changed = get_;
  changed.method = "HEAD";
  EXPECT_EQ(Verdict(changed), "SignatureDoesNotMatch");
  changed = get_;
  changed.headers.Set("Range", "bytes=0-8");
  EXPECT_EQ(Verdict(changed), "SignatureDoesNotMatch");
  changed = get_;
  changed.query = {{"acl", ""}};
  EXPECT_EQ(Verdict(changed), "SignatureDoesNotMatch");
  changed = get_;
  changed.headers.Set("x-amz-content-sha256", "UNSIGNED-PAYLOAD");
  EXPECT_EQ(Verdict(changed), "SignatureDoesNotMatch");
  changed = presigned_;
  changed.path = "/other";
  EXPECT_EQ(Verdict(changed), "SignatureDoesNotMatch");
  changed = presigned_;
  changed.query[3].second = "604800";
  EXPECT_EQ(Verdict(changed), "SignatureDoesNotMatch");
}

TEST_F(S3AuthTest, WantsEverythingSigned) {
  net::ServerRequest changed = get_;
  changed.headers.Add("x-amz-acl", "public-read");
  EXPECT_EQ(Verdict(changed), "AccessDenied");
  changed = get_;
  changed.headers.Set(
      "Authorization",
      "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
      "SignedHeaders=range;x-amz-content-sha256;x-amz-date,Signature=00");
  EXPECT_EQ(Verdict(changed), "AccessDenied");
  EXPECT_EQ(Verdict(net::ServerRequest()), "AccessDenied");
}

TEST_F(S3AuthTest, KeepsToTheClock) {
  now_ = *ParseRfc3339("2013-05-24T00:16:00Z");
  EXPECT_EQ(Verdict(get_), "RequestTimeTooSkewed");
  EXPECT_EQ(Verdict(presigned_), "ok");
  now_ = *ParseRfc3339("2013-05-23T23:44:00Z");
  EXPECT_EQ(Verdict(get_), "RequestTimeTooSkewed");
  EXPECT_EQ(Verdict(presigned_), "AccessDenied");
  now_ = *ParseRfc3339("2013-05-25T00:01:00Z");
  EXPECT_EQ(Verdict(presigned_), "AccessDenied");
}

TEST_F(S3AuthTest, KeepsToTheScope) {
  region_ = "eu-west-1";
  const auto wrong_region = Check(get_);
  ASSERT_FALSE(wrong_region.ok());
  EXPECT_EQ(wrong_region.error().code, "AuthorizationHeaderMalformed");
  const auto answer = wrong_region.error().ToResponse("/test.txt", false);
  EXPECT_THAT(*answer.body, ::testing::HasSubstr("<Region>eu-west-1</Region>"));
  EXPECT_EQ(answer.headers.Get("x-amz-bucket-region"), "eu-west-1");
  region_ = "us-east-1";
  for (const char* credential : {"AKIAIOSFODNN7EXAMPLE/20130525/us-east-1/s3/aws4_request",
                                 "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/ec2/aws4_request",
                                 "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3", "x"}) {
    net::ServerRequest changed = get_;
    changed.headers.Set(
        "Authorization",
        std::string("AWS4-HMAC-SHA256 Credential=") + credential +
            ",SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,Signature=00");
    EXPECT_EQ(Verdict(changed), "AuthorizationHeaderMalformed") << credential;
  }
  net::ServerRequest changed = presigned_;
  changed.query[1].second = "SOMEBODY/20130524/us-east-1/s3/aws4_request";
  EXPECT_EQ(Verdict(changed), "InvalidAccessKeyId");
  changed = presigned_;
  changed.query[3].second = "604801";
  EXPECT_EQ(Verdict(changed), "AuthorizationQueryParametersError");
}

// The chunked example of the documentation: 64 KiB and 1 KiB of the letter a.
class AwsChunkedTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auth_.payload = PayloadKind::kSignedChunks;
    auth_.amz_date = "20130524T000000Z";
    const store::SigV4Scope scope{.date = "20130524", .region = "us-east-1"};
    auth_.scope = scope.ToString();
    auth_.signing_key =
        store::SigningKey(Secret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"), scope);
    auth_.signature = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
    body_ =
        "10000;chunk-signature="
        "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n" +
        std::string(65536, 'a') +
        "\r\n400;chunk-signature="
        "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n" +
        std::string(1024, 'a') +
        "\r\n0;chunk-signature="
        "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n";
  }

  // The verdict, and what was decoded, feeding so many bytes at a time.
  std::string Decode(const std::string& body, std::size_t step, std::string& decoded) {
    AwsChunkedDecoder decoder(auth_);
    const auto sink = [&](ByteSpan bytes) -> S3Status {
      decoded += AsText(bytes);
      return {};
    };
    for (std::size_t at = 0; at < body.size(); at += step) {
      const auto fed = decoder.Feed(std::string_view(body).substr(at, step), sink);
      if (!fed.ok()) return fed.error().code;
    }
    const auto end = decoder.End();
    trailers_ = decoder.trailers();
    return end.ok() ? "ok" : end.error().code;
  }

  Authenticated auth_;
  std::string body_;
  std::vector<std::pair<std::string, std::string>> trailers_;
};

TEST_F(AwsChunkedTest, DecodesTheExample) {
  for (const std::size_t step : {std::size_t{1}, std::size_t{7}, std::size_t{70000}}) {
    std::string decoded;
    EXPECT_EQ(Decode(body_, step, decoded), "ok");
    EXPECT_EQ(decoded, std::string(65536 + 1024, 'a'));
  }
}

TEST_F(AwsChunkedTest, NoticesDamage) {
  std::string decoded;
  std::string changed = body_;
  changed[1000] = 'b';
  EXPECT_EQ(Decode(changed, 4096, decoded), "SignatureDoesNotMatch");
  changed = body_;
  changed[30] = changed[30] == '0' ? '1' : '0';
  EXPECT_EQ(Decode(changed, 4096, decoded), "SignatureDoesNotMatch");
  EXPECT_EQ(Decode(body_.substr(0, body_.size() - 90), 4096, decoded), "IncompleteBody");
  EXPECT_EQ(Decode(body_ + "x", 4096, decoded), "IncompleteBody");
  EXPECT_EQ(Decode("400\r\n", 4096, decoded), "InvalidRequest");
  EXPECT_EQ(Decode("zz;chunk-signature=00\r\n", 4096, decoded), "InvalidRequest");
  EXPECT_EQ(Decode(std::string(10000, '1'), 4096, decoded), "InvalidRequest");
}

TEST_F(AwsChunkedTest, ReadsUnsignedTrailers) {
  auth_.payload = PayloadKind::kUnsignedChunksWithTrailer;
  std::string decoded;
  EXPECT_EQ(Decode("5\r\nhello\r\n0\r\nX-Amz-Checksum-Crc32: abcd==\r\n\r\n", 3, decoded), "ok");
  EXPECT_EQ(decoded, "hello");
  ASSERT_EQ(trailers_.size(), 1U);
  EXPECT_EQ(trailers_[0].first, "x-amz-checksum-crc32");
  EXPECT_EQ(trailers_[0].second, "abcd==");
}

// The documentation's example again, with a trailer.
TEST_F(AwsChunkedTest, ReadsSignedTrailers) {
  auth_.payload = PayloadKind::kSignedChunksWithTrailer;
  auth_.signature = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e";
  const std::string chunks =
      "10000;chunk-signature="
      "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2\r\n" +
      std::string(65536, 'a') +
      "\r\n400;chunk-signature="
      "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7\r\n" +
      std::string(1024, 'a') +
      "\r\n0;chunk-signature="
      "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992\r\n";
  const std::string trailer = "x-amz-checksum-crc32c:sOO8/Q==";
  const std::string signature =
      "x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435";
  const std::string end = "\r\n\r\n";
  for (const char* between : {"\r\n", "\n\r\n"}) {
    std::string decoded;
    EXPECT_EQ(Decode(chunks + trailer + between + signature + end, 7, decoded), "ok");
    EXPECT_EQ(decoded, std::string(65536 + 1024, 'a'));
    ASSERT_EQ(trailers_.size(), 1U);
    EXPECT_EQ(trailers_[0],
              std::pair(std::string("x-amz-checksum-crc32c"), std::string("sOO8/Q==")));
    EXPECT_EQ(Decode(chunks + trailer + between + end, 7, decoded), "SignatureDoesNotMatch");
    EXPECT_EQ(
        Decode(chunks + "x-amz-checksum-crc32c:AAAAAA==" + between + signature + end, 7, decoded),
        "SignatureDoesNotMatch");
  }
}

TEST(ChecksumTest, KnowsItsVectors) {
  const auto of = [](std::string_view name) {
    const auto checksum = MakeChecksum(name);
    checksum->Add(AsBytes("12345"));
    checksum->Add(AsBytes("6789"));
    return HexEncode(checksum->Finish());
  };
  EXPECT_EQ(of("crc32"), "cbf43926");
  EXPECT_EQ(of("crc32c"), "e3069283");
  EXPECT_EQ(of("crc64nvme"), "ae8b14860a799888");
  EXPECT_EQ(of("md5"), "25f9e794323b453885f5181f1b624d0b");
  EXPECT_EQ(of("sha1"), "f7c3bc1d808e04732adf679965ccc34ca7ae3441");
  EXPECT_EQ(MakeChecksum("crc16"), nullptr);
}

}  // namespace
}  // namespace thinsnap::s3
