#include "simulator/schema/cel.h"

#include "tests/unit/schema/values.h"

namespace thinsnap::schema::cel {
namespace {

// "true", a JSON value, or "error".
std::string Value(std::string_view expression, std::string_view self = "{}",
                  std::string_view old_self = "") {
  const auto program = Program::Compile(expression);
  if (!program.ok()) return "no program";
  const Json now = J(self);
  const Json before = old_self.empty() ? Json() : J(old_self);
  const auto value = (*program)->Evaluate(now, old_self.empty() ? nullptr : &before);
  return value.ok() ? ToJson(*value) : "error";
}

TEST(CelTest, Calculates) {
  EXPECT_EQ(Value("1 + 2 * 3 - 4"), "3");
  EXPECT_EQ(Value("7 / 2"), "3");
  EXPECT_EQ(Value("-7 % 3"), "-1");
  EXPECT_EQ(Value("'a' + \"b\""), R"("ab")");
  EXPECT_EQ(Value("[1] + [2]"), "[1,2]");
  EXPECT_EQ(Value("1 / 0"), "error");
  EXPECT_EQ(Value("1 + 'a'"), "error");
}

TEST(CelTest, ComparesAndDecides) {
  EXPECT_EQ(Value("1 < 2 && !(2 <= 1)"), "true");
  EXPECT_EQ(Value("'a' < 'b' ? 'yes' : 'no'"), R"("yes")");
  EXPECT_EQ(Value("1 in [1, 2] || 'k' in {'k': 1}"), "true");
  EXPECT_EQ(Value("self.a == self.b", R"({"a":{"x":[1]},"b":{"x":[1]}})"), "true");
  // An error on one side does not matter where the other one decides.
  EXPECT_EQ(Value("true || self.missing == 1"), "true");
  EXPECT_EQ(Value("self.missing == 1 && false"), "false");
  EXPECT_EQ(Value("self.missing == 1 && true"), "error");
}

TEST(CelTest, LooksIntoObjects) {
  EXPECT_EQ(Value("has(self.a) && !has(self.b)", R"({"a":1})"), "true");
  EXPECT_EQ(Value("self.list[1]", R"({"list":[1,2]})"), "2");
  EXPECT_EQ(Value("self.list[2]", R"({"list":[1,2]})"), "error");
  EXPECT_EQ(Value("self.map['a.b']", R"({"map":{"a.b":"c"}})"), R"("c")");
  EXPECT_EQ(Value("size(self.list) + size('äb')", R"({"list":[1,2]})"), "4");
}

TEST(CelTest, GoesThroughLists) {
  constexpr std::string_view kSelf = R"({"l":[1,2,3],"o":[{"n":"a"},{"n":"b"}]})";
  EXPECT_EQ(Value("self.l.all(x, x > 0)", kSelf), "true");
  EXPECT_EQ(Value("self.l.exists(x, x > 2)", kSelf), "true");
  EXPECT_EQ(Value("self.l.exists_one(x, x > 1)", kSelf), "false");
  EXPECT_EQ(Value("self.l.filter(x, x > 1)", kSelf), "[2,3]");
  EXPECT_EQ(Value("self.l.map(x, x * 2)", kSelf), "[2,4,6]");
  EXPECT_EQ(Value("self.o.all(x, self.o.exists_one(y, y.n == x.n))", kSelf), "true");
}

TEST(CelTest, KnowsTexts) {
  EXPECT_EQ(Value("'abc'.startsWith('a') && 'abc'.endsWith('c') && 'abc'.contains('b')"), "true");
  EXPECT_EQ(Value("'abc'.matches('^[a-c]+$')"), "true");
  EXPECT_EQ(Value("'aXb'.lowerAscii()"), R"("axb")");
  EXPECT_EQ(Value("int('12') + 1"), "13");
  EXPECT_EQ(Value("string(12) + 'a'"), R"("12a")");
}

TEST(CelTest, SeesWhatWasBefore) {
  const auto rule = Program::Compile("self == oldSelf");
  ASSERT_TRUE(rule.ok());
  EXPECT_TRUE((*rule)->uses_old_self());
  EXPECT_EQ(Value("self.a >= oldSelf.a", R"({"a":2})", R"({"a":1})"), "true");
  const auto plain = Program::Compile("self.a > 0");
  ASSERT_TRUE(plain.ok());
  EXPECT_FALSE((*plain)->uses_old_self());
}

TEST(CelTest, RefusesWhatIsNoExpression) {
  for (const char* text : {"", "1 +", "self.", "(1", "'open", "a b", "1 ? 2"})
    EXPECT_EQ(Value(text), "no program") << text;
}

TEST(CelTest, EndsWhatTakesTooLong) {
  std::string list = "[0";
  for (int i = 1; i < 400; ++i) list += "," + std::to_string(i);
  const std::string self = R"({"l":)" + list + "]}";
  EXPECT_EQ(Value("self.l.all(a, self.l.all(b, self.l.all(c, a + b + c >= 0)))", self), "error");
}

TEST(CelTest, WantsAnAnswerOfYesOrNo) {
  const auto program = Program::Compile("1 + 1");
  ASSERT_TRUE(program.ok());
  EXPECT_FALSE((*program)->Test(J("{}"), nullptr).ok());
}

}  // namespace
}  // namespace thinsnap::schema::cel
