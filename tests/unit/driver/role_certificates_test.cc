// The roles' certificates over an API server in memory and many years: made once, renewed before
// they end, never from an authority that the other role does not know yet, whatever write fails.
#include "csi/driver/role_certificates.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/core/bytes.h"
#include "base/core/runtime.h"
#include "base/kube/object.h"
#include "base/net/certificate.h"
#include "simulator/apiserver/api_server.h"
#include "tests/faults/effects.h"
#include "tests/faults/fault_kube_client.h"

namespace thinsnap::driver {
namespace {

constexpr char kNs[] = "thinsnap-system";
constexpr Duration kDay = std::chrono::hours(24);

class SetClock final : public Clock {
 public:
  WallTime Now() override { return now; }
  MonoTime MonoNow() override { return MonoTime(now.time_since_epoch()); }
  WallTime now = FromUnixSeconds(1'800'000'000);
};

class RoleCertificatesTest : public testing::Test {
 protected:
  RoleCertificatesTest() : runtime_(system_clock_) {
    apiserver::Options options;
    options.without_http = true;
    auto server = apiserver::ApiServer::Start(runtime_, random_, options);
    EXPECT_TRUE(server.ok());
    server_ = std::move(*server);
    kube_ = apiserver::MakeInProcessKubeClient(*server_, "admin");
    const Json ns = kube::NewObject(kube::types::kNamespace, {"", kNs});
    EXPECT_TRUE(kube_->Create(kube::types::kNamespace, ns).ok());
  }

  void Ensure() {
    const Status made = EnsureRoleCertificates(*kube_, clock_, kNs);
    ASSERT_TRUE(made.ok()) << made.error().ToString();
  }

  using Values = std::map<std::string, std::string>;
  Values Data(const std::string& secret) {
    const auto object = kube_->Get(kube::types::kSecret, {kNs, secret});
    if (!object.ok()) return {};
    Values values;
    for (const auto& [name, value] : *FindObject(*object, "data")) {
      values[std::string(name)] =
          std::string(AsText(*Base64Decode(std::string_view(value.get_string()))));
    }
    return values;
  }
  std::vector<Values> Everything() {
    return {Data(kAuthoritySecret), Data(kControllerTlsSecret), Data(kNodeTlsSecret)};
  }
  void Put(const std::string& secret, const Values& values) {
    Json object = *kube_->Get(kube::types::kSecret, {kNs, secret});
    JsonObject data;
    for (const auto& [name, value] : values) data[name] = Base64Encode(AsBytes(value));
    object.as_object()["data"] = std::move(data);
    ASSERT_TRUE(kube_->Update(kube::types::kSecret, object).ok());
  }

  static net::CertificateFacts Facts(const Values& role) {
    const auto facts = net::ReadCertificate({role.at("tls.crt"), Secret(role.at("tls.key"))});
    EXPECT_TRUE(facts.ok());
    return facts.ok() ? *facts : net::CertificateFacts();
  }
  // Whether one who has this ca.crt believes that certificate.
  static bool Trusts(const std::string& bundle, const std::string& cert) {
    for (std::size_t at = bundle.find("-----BEGIN"); at != std::string::npos;
         at = bundle.find("-----BEGIN", at + 1)) {
      if (net::IsIssuedBy(cert, bundle.substr(at))) return true;
    }
    return false;
  }

  SystemClock system_clock_;
  ThreadRuntime runtime_;
  SystemRandom random_;
  SetClock clock_;
  std::unique_ptr<apiserver::ApiServer> server_;
  std::unique_ptr<kube::KubeClient> kube_;
};

TEST_F(RoleCertificatesTest, EachRoleHasANameOfItsOwn) {
  Ensure();
  const Values controller = Data(kControllerTlsSecret), node = Data(kNodeTlsSecret);
  EXPECT_THAT(Facts(controller).dns_names, testing::ElementsAre("thinsnap-csi-controller"));
  EXPECT_THAT(Facts(node).dns_names, testing::ElementsAre("thinsnap-csi-node"));
  EXPECT_TRUE(Trusts(node.at("ca.crt"), controller.at("tls.crt")));
  EXPECT_TRUE(Trusts(controller.at("ca.crt"), node.at("tls.crt")));
  EXPECT_FALSE(node.contains("ca.key"));
  EXPECT_FALSE(controller.contains("ca.key"));
}

TEST_F(RoleCertificatesTest, RepeatedItChangesNothing) {
  Ensure();
  const auto before = Everything();
  clock_.now += 200 * kDay;
  Ensure();
  EXPECT_EQ(Everything(), before);
}

TEST_F(RoleCertificatesTest, RenewsWhatHasLessThanAThirdOfItsLifeLeft) {
  Ensure();
  const auto before = Everything();
  clock_.now += 250 * kDay;
  Ensure();
  const auto after = Everything();
  EXPECT_EQ(after[0], before[0]);  // the authority lives for ten years
  for (const std::size_t role : {1, 2}) {
    EXPECT_NE(after[role].at("tls.crt"), before[role].at("tls.crt"));
    EXPECT_GT(Facts(after[role]).not_after, clock_.now + 360 * kDay);
  }
}

// A week for each run, fifteen years long: at each moment a role that still holds what it had a
// week ago, and one that holds what is there now, believe each other.
TEST_F(RoleCertificatesTest, RolesBelieveEachOtherThroughEveryRenewal) {
  Ensure();
  auto before = Everything();
  std::set<std::string> authorities;
  for (int run = 0; run < 15 * 13; ++run) {
    clock_.now += 28 * kDay;
    ASSERT_NO_FATAL_FAILURE(Ensure());
    auto after = Everything();
    ASSERT_GT(Facts(after[1]).not_after, clock_.now) << run;
    ASSERT_GT(Facts(after[2]).not_after, clock_.now) << run;
    if (after == before) continue;
    for (const auto* from : {&before, &after}) {
      for (const auto* to : {&before, &after}) {
        ASSERT_TRUE(Trusts((*from)[1].at("ca.crt"), (*to)[2].at("tls.crt"))) << run;
        ASSERT_TRUE(Trusts((*from)[2].at("ca.crt"), (*to)[1].at("tls.crt"))) << run;
      }
    }
    authorities.insert(after[0].at("ca.crt"));
    before = std::move(after);
  }
  EXPECT_GE(authorities.size(), 3U);  // one, both, and the second alone
}

TEST_F(RoleCertificatesTest, WhatIsUnusableIsMadeAnew) {
  Ensure();
  const auto good = Everything();
  const Values controller = good[1], node = good[2];
  Values damaged = node;
  damaged["tls.key"] = controller.at("tls.key");  // another's
  Values borrowed = controller;                   // whole, but the other role's
  Values text = node;
  text["tls.crt"] = "no PEM";
  for (const Values& bad : {damaged, borrowed, text}) {
    Put(kNodeTlsSecret, bad);
    Ensure();
    const Values mended = Data(kNodeTlsSecret);
    EXPECT_THAT(Facts(mended).dns_names, testing::ElementsAre(kNodeTlsName));
    EXPECT_TRUE(Trusts(controller.at("ca.crt"), mended.at("tls.crt")));
  }
  EXPECT_EQ(Data(kControllerTlsSecret), controller);
  Put(kAuthoritySecret, {{"ca.crt", "lost"}});
  Ensure();
  EXPECT_TRUE(Trusts(Data(kControllerTlsSecret).at("ca.crt"), Data(kNodeTlsSecret).at("tls.crt")));
  EXPECT_TRUE(Trusts(Data(kNodeTlsSecret).at("ca.crt"), Data(kControllerTlsSecret).at("tls.crt")));
}

TEST_F(RoleCertificatesTest, AFaultAtAnyWriteIsMendedByTheNextRun) {
  using faults::Fault;
  for (const Fault fault : {Fault::kNotDone, Fault::kAnswerLost, Fault::kCrash}) {
    for (int at = 1; at <= 3; ++at) {
      for (const char* secret : {kAuthoritySecret, kControllerTlsSecret, kNodeTlsSecret}) {
        (void)kube_->Delete(kube::types::kSecret, {kNs, secret});
      }
      faults::Effects effects(at, fault);
      faults::Process process(runtime_);
      faults::FaultKubeClient faulty(*kube_, effects, process);
      effects.Begin();
      EXPECT_FALSE(EnsureRoleCertificates(faulty, clock_, kNs).ok());
      EXPECT_TRUE(effects.fired());
      Ensure();
      const auto all = Everything();
      EXPECT_TRUE(Trusts(all[1].at("ca.crt"), all[2].at("tls.crt")));
      EXPECT_TRUE(Trusts(all[2].at("ca.crt"), all[1].at("tls.crt")));
      Ensure();
      EXPECT_EQ(Everything(), all);
    }
  }
}

}  // namespace
}  // namespace thinsnap::driver
