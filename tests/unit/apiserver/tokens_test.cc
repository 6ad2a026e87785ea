#include "simulator/apiserver/tokens.h"

#include <gtest/gtest.h>

namespace thinsnap::apiserver {
namespace {

class TokensTest : public ::testing::Test {
 protected:
  static std::unique_ptr<TokenSigner> NewSigner() {
    auto key = TokenSigner::MakeKey();
    EXPECT_TRUE(key.ok());
    auto signer = TokenSigner::FromKey(*key);
    EXPECT_TRUE(signer.ok());
    return std::move(*signer);
  }

  static TokenClaims Claims() {
    TokenClaims claims;
    claims.ns = "n";
    claims.service_account = "sa";
    claims.uid = "u1";
    claims.pod = "p";
    claims.pod_uid = "u2";
    claims.audiences = {"a", "b"};
    claims.issued = FromUnixSeconds(1000);
    claims.expires = FromUnixSeconds(2000);
    claims.id = "j";
    return claims;
  }
};

TEST_F(TokensTest, GivesBackWhatItSigned) {
  const auto signer = NewSigner();
  const auto token = signer->Sign(Claims());
  ASSERT_TRUE(token.ok());
  const auto claims = signer->Verify(token->Reveal(), FromUnixSeconds(1500));
  ASSERT_TRUE(claims.ok()) << claims.error().ToString();
  EXPECT_EQ(claims->ns, "n");
  EXPECT_EQ(claims->service_account, "sa");
  EXPECT_EQ(claims->uid, "u1");
  EXPECT_EQ(claims->pod, "p");
  EXPECT_EQ(claims->pod_uid, "u2");
  EXPECT_EQ(claims->audiences, (std::vector<std::string>{"a", "b"}));
}

TEST_F(TokensTest, RefusesExpiredForeignAndDamagedTokens) {
  const auto signer = NewSigner();
  const auto other = NewSigner();
  const auto token = signer->Sign(Claims());
  ASSERT_TRUE(token.ok());
  const std::string text(token->Reveal());
  EXPECT_TRUE(signer->Verify(text, FromUnixSeconds(2000)).Is(Code::kUnauthenticated));
  EXPECT_TRUE(other->Verify(text, FromUnixSeconds(1500)).Is(Code::kUnauthenticated));
  std::string damaged = text;
  damaged[text.find('.') + 5] = damaged[text.find('.') + 5] == 'A' ? 'B' : 'A';
  EXPECT_TRUE(signer->Verify(damaged, FromUnixSeconds(1500)).Is(Code::kUnauthenticated));
  for (const std::string junk : {"", ".", "..", "a.b.c", "a.b"}) {
    EXPECT_TRUE(signer->Verify(junk, FromUnixSeconds(1500)).Is(Code::kUnauthenticated)) << junk;
  }
}

}  // namespace
}  // namespace thinsnap::apiserver
