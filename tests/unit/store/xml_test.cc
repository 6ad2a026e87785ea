#include "snapshotter/store/xml.h"

#include <gtest/gtest.h>

#include "base/core/random.h"

namespace thinsnap::store {
namespace {

TEST(XmlTest, ReadsAListing) {
  const auto root = ParseXml(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!-- hi --><List xmlns='http://x/'>\n"
      "<Key>a&amp;b&lt;&#x41;&#66;</Key><Key><![CDATA[<raw>&]]></Key><Empty/><Deep><Er a=\"1\" "
      ">x</Er ></Deep></List>\n");
  ASSERT_TRUE(root.ok()) << root.error().ToString();
  EXPECT_EQ(root->name, "List");
  ASSERT_EQ(root->children.size(), 4U);
  EXPECT_EQ(root->TextOf("Key"), "a&b<AB");
  EXPECT_EQ(root->children[1].text, "<raw>&");
  EXPECT_EQ(root->Child("Deep")->TextOf("Er"), "x");
  EXPECT_EQ(root->Child("None"), nullptr);
  EXPECT_EQ(root->TextOf("None"), "");
}

TEST(XmlTest, RefusesWhatIsMalformed) {
  for (const char* bad : {"",
                          "text",
                          "<a>",
                          "<a></b>",
                          "<a",
                          "<a b></a>",
                          "<a b=c></a>",
                          "<a b='<'></a>",
                          "<a>&nbsp;</a>",
                          "<a>&amp</a>",
                          "<a>&#0;</a>",
                          "<a>&#xD800;</a>",
                          "<a>&#x110000;</a>",
                          "<a/><b/>",
                          "<a/>text",
                          "<1a/>",
                          "< a/>",
                          "<a><![CDATA[x</a>",
                          "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>",
                          "<a><!-- </a>",
                          "<?xml <a/>"}) {
    EXPECT_TRUE(ParseXml(bad).Is(Code::kInvalidArgument)) << bad;
  }
}

TEST(XmlTest, IsBounded) {
  std::string deep;
  for (int i = 0; i < 100; ++i) deep += "<a>";
  EXPECT_FALSE(ParseXml(deep).ok());
  std::string wide = "<a>";
  for (int i = 0; i < 100; ++i) wide += "<b/>";
  wide += "</a>";
  EXPECT_TRUE(ParseXml(wide, 101).ok());
  EXPECT_FALSE(ParseXml(wide, 100).ok());
}

TEST(XmlTest, EscapesWhatItReads) {
  const std::string text = "a<b>&\"c'\xC3\xA4\t\r\n";
  const auto root = ParseXml("<a>" + XmlEscape(text) + "</a>");
  ASSERT_TRUE(root.ok());
  EXPECT_EQ(root->text, text);
}

TEST(XmlTest, SurvivesDamage) {
  const std::string good =
      "<?xml version=\"1.0\"?><L x=\"1\"><K>a&amp;b</K><K><![CDATA[x]]></K><!--c--><E/></L>";
  SeededRandom random(3);
  for (int round = 0; round < 20000; ++round) {
    std::string text = good;
    for (std::uint64_t change = random.Below(4) + 1; change > 0; --change) {
      const std::size_t at = random.Below(text.size());
      switch (random.Below(3)) {
        case 0:
          text[at] = static_cast<char>(random.Below(256));
          break;
        case 1:
          text.erase(at, random.Below(8));
          break;
        default:
          text.insert(at, good, random.Below(good.size()), random.Below(8));
      }
      if (text.empty()) break;
    }
    const auto root = ParseXml(text);
    EXPECT_FALSE(root.ok() && root->name.empty());
  }
}

}  // namespace
}  // namespace thinsnap::store
