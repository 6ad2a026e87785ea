#include "base/net/http.h"

#include <gtest/gtest.h>

namespace thinsnap::net {
namespace {

TEST(HeadersTest, ComparesNamesWithoutCase) {
  Headers headers;
  headers.Add("Content-Type", "a");
  headers.Add("content-type", "b");
  EXPECT_EQ(headers.Get("CONTENT-TYPE"), "a");
  headers.Set("Content-type", "c");
  EXPECT_EQ(headers.Get("content-type"), "c");
  EXPECT_EQ(headers.items().size(), 1U);
  EXPECT_FALSE(headers.Has("Content"));
}

TEST(UrlTest, EscapesAndUnescapes) {
  EXPECT_EQ(UrlEscape("a b/c+\xC3\xA4~-._"), "a%20b%2Fc%2B%C3%A4~-._");
  EXPECT_EQ(UrlEscape("a/b c", true), "a/b%20c");
  EXPECT_EQ(*UrlUnescape("a%20b%2fc+%C3%A4"), "a b/c+\xC3\xA4");
  for (const char* broken : {"%", "%4", "a%zz", "%%20"}) {
    EXPECT_TRUE(UrlUnescape(broken).Is(Code::kInvalidArgument)) << broken;
  }
}

TEST(QueryTest, KeepsOrderAndEmptyValues) {
  const auto query = ParseQuery("b=2&a&&c=%26%3D&a=x=y");
  ASSERT_TRUE(query.ok());
  const Query expected = {{"b", "2"}, {"a", ""}, {"c", "&="}, {"a", "x=y"}};
  EXPECT_EQ(*query, expected);
  EXPECT_EQ(FormatQuery(expected), "b=2&a=&c=%26%3D&a=x%3Dy");
  EXPECT_EQ(ParseQuery("command=echo+a%2Bb")->front().second, "echo a+b");
  EXPECT_FALSE(ParseQuery("a=%").ok());
  EXPECT_EQ(*ParseQuery("command=echo+a%2Bb"), (Query{{"command", "echo a+b"}}));
}

TEST(UrlTest, ParsesParts) {
  const auto url = ParseUrl("HTTPS://Example.COM:8443/a%20b/c?x=1&y#fragment");
  ASSERT_TRUE(url.ok());
  EXPECT_EQ(url->scheme, "https");
  EXPECT_EQ(url->host, "example.com");
  EXPECT_EQ(url->port, 8443);
  EXPECT_EQ(url->path, "/a%20b/c");
  EXPECT_EQ(url->query, "x=1&y");
  EXPECT_EQ(ParseUrl("http://h")->port, 80);
  EXPECT_EQ(ParseUrl("https://h?q")->port, 443);
  EXPECT_EQ(ParseUrl("https://h?q")->path, "/");
  EXPECT_EQ(ParseUrl("http://[::1]:90/x")->host, "[::1]");
  EXPECT_EQ(ParseUrl("http://[::1]:90/x")->port, 90);
}

TEST(UrlTest, RefusesWhatIsNoUrl) {
  for (const char* bad :
       {"", "host/path", "://h", "http://", "http:///path", "http://h:0", "http://h:65536",
        "http://h:x", "http://h:", "http://[::1", "http://a b/", "http://[::1]x/"}) {
    EXPECT_TRUE(ParseUrl(bad).Is(Code::kInvalidArgument)) << bad;
  }
}

TEST(UrlTest, KeepsSecretsOutOfMessages) {
  const auto with_password = ParseUrl("http://user:hunter2@host/");
  ASSERT_FALSE(with_password.ok());
  EXPECT_EQ(with_password.error().message().find("hunter2"), std::string::npos);
  const auto with_token = ParseUrl("http://h:x/?token=hunter2");
  ASSERT_FALSE(with_token.ok());
  EXPECT_EQ(with_token.error().message().find("hunter2"), std::string::npos);
}

}  // namespace
}  // namespace thinsnap::net
