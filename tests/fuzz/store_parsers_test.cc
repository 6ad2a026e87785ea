// What S3 servers answer, damaged and malicious: XML of any kind, and listings through the store,
// which answers ordered keys under the prefix, or an error.
#include <gtest/gtest.h>

#include "base/core/random.h"
#include "base/net/http_client.h"
#include "snapshotter/store/s3_store.h"
#include "snapshotter/store/xml.h"

namespace thinsnap::store {
namespace {

constexpr int kRounds = 4000;

constexpr const char* kListing =
    R"(<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>bucket</Name>
<Prefix>p/</Prefix><KeyCount>3</KeyCount><MaxKeys>1000</MaxKeys><EncodingType>url</EncodingType>
<IsTruncated>false</IsTruncated>
<Contents><Key>p/a</Key><LastModified>2026-11-21T02:57:00.000Z</LastModified><ETag>"1"</ETag><Size>5</Size></Contents>
<Contents><Key>p/b%20c</Key><LastModified>2026-11-21T02:57:00Z</LastModified><ETag>&quot;2&quot;</ETag><Size>0</Size></Contents>
<Contents><Key>p/z/y</Key><LastModified>2026-11-21T02:57:00.1Z</LastModified><ETag>"3"</ETag><Size>18446744073709551615</Size></Contents>
<CommonPrefixes><Prefix>p/q/</Prefix></CommonPrefixes></ListBucketResult>)";

constexpr const char* kError =
    "<Error><Code>NoSuchKey</Code><Message>gone &#x41;&amp;</Message><Key>k</Key></Error>";

std::string Edit(Random& random, std::string text) {
  constexpr std::string_view kTokens[] = {"<",         ">",   "</",   "&",    "&#0;",
                                          "<![CDATA[", "]]>", "<!--", "true", "%",
                                          "%ff",       "+",   "..",   "//",   "<!DOCTYPE a>"};
  for (std::uint64_t edits = random.Below(4) + 1; edits > 0; --edits) {
    const std::size_t at = random.Below(text.size() + 1);
    switch (random.Below(4)) {
      case 0:
        text.insert(at, kTokens[random.Below(std::size(kTokens))]);
        break;
      case 1:
        text.erase(at, random.Below(30));
        break;
      case 2:
        text.insert(at, text.substr(random.Below(text.size() + 1), random.Below(80)));
        break;
      default:
        if (at < text.size()) text[at] = static_cast<char>(random.Below(256));
    }
  }
  return text;
}

class CannedHttp final : public net::HttpClient {
 public:
  Result<net::HttpResponse> Do(const net::HttpRequest&) override { return answer; }
  net::HttpResponse answer;
};

class StoreParsersTest : public ::testing::Test {
 protected:
  SystemClock clock_;
  SeededRandom random_{11};
};

TEST_F(StoreParsersTest, Xml) {
  for (const char* seed : {kListing, kError, "<a/>", "<a b='c'>d<e/>f</a>"}) {
    ASSERT_TRUE(ParseXml(seed).ok()) << seed;
    for (int i = 0; i < kRounds; ++i) {
      const auto parsed = ParseXml(Edit(random_, seed));
      EXPECT_TRUE(parsed.ok() || !parsed.error().message().empty());
    }
  }
  EXPECT_FALSE(ParseXml(std::string(100'000, '<')).ok());
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += "<a>";
  EXPECT_FALSE(ParseXml(deep).ok());
}

TEST_F(StoreParsersTest, WhatIsEscapedComesBack) {
  for (int i = 0; i < kRounds; ++i) {
    std::string text;
    for (std::uint64_t length = random_.Below(40); length > 0; --length) {
      text += static_cast<char>(0x20 + random_.Below(0x5f));
    }
    const auto parsed = ParseXml("<a>" + XmlEscape(text) + "</a>");
    ASSERT_TRUE(parsed.ok()) << text;
    EXPECT_EQ(parsed->text, text);
  }
}

TEST_F(StoreParsersTest, Listings) {
  auto http = std::make_unique<CannedHttp>();
  CannedHttp& canned = *http;
  S3Bucket bucket;
  bucket.endpoint = "http://127.0.0.1:1";
  bucket.bucket = "bucket";
  bucket.prefix = "p/";
  S3ObjectStore store(clock_, std::move(http), bucket, {"id", Secret("secret"), Secret()});
  canned.answer.status = 200;
  canned.answer.body = kListing;
  const auto whole = store.List("");
  ASSERT_TRUE(whole.ok()) << whole.error().ToString();
  EXPECT_EQ(whole->objects.size(), 3U);
  for (int i = 0; i < kRounds; ++i) {
    canned.answer.body = Edit(random_, kListing);
    const auto page = store.List("", "0");
    if (!page.ok()) continue;
    std::string last = "0";
    for (const ObjectInfo& info : page->objects) {
      EXPECT_GT(info.key, last) << canned.answer.body;
      last = info.key;
    }
  }
}

TEST_F(StoreParsersTest, ErrorsOfAnyKindStayErrors) {
  auto http = std::make_unique<CannedHttp>();
  CannedHttp& canned = *http;
  S3Bucket bucket;
  bucket.endpoint = "http://127.0.0.1:1";
  bucket.bucket = "bucket";
  S3ObjectStore store(clock_, std::move(http), bucket, {"id", Secret("a secret key"), Secret()});
  for (int i = 0; i < kRounds; ++i) {
    canned.answer.status = 300 + static_cast<int>(random_.Below(300));
    canned.answer.body = Edit(random_, kError);
    const auto got = store.Get("key");
    ASSERT_FALSE(got.ok());
    EXPECT_EQ(got.error().message().find("a secret key"), std::string::npos);
    EXPECT_FALSE(store.Put("key", AsBytes("x")).ok());
  }
}

}  // namespace
}  // namespace thinsnap::store
