// Replays the recorded requests against our server and compares the answers with those of a real
// kube-apiserver. differences.txt lists the cases that differ on purpose, each with its reason; any
// other difference fails.
#include <algorithm>
#include <fstream>
#include <gtest/gtest.h>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/core/random.h"
#include "base/core/runtime.h"
#include "base/data/json.h"
#include "base/kube/client_config.h"
#include "base/net/http_client.h"
#include "simulator/apiserver/api_server.h"
#include "tests/contract/apiserver/normalize.h"

namespace thinsnap::apiserver {
namespace {

constexpr std::size_t kMustAgree = 383;
const std::string kFolder = std::string(THINSNAP_SOURCE_DIR) + "/tests/contract/apiserver/";

std::vector<std::string> Lines(const std::string& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file.good()) << path;
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

// "137 reason" by the number of the line in golden.jsonl, from 0.
std::map<std::size_t, std::string> Differences() {
  std::map<std::size_t, std::string> out;
  for (const std::string& line : Lines(kFolder + "differences.txt")) {
    if (line.empty() || line[0] == '#') continue;
    const auto space = line.find(' ');
    EXPECT_NE(space, std::string::npos) << "no reason: " << line;
    out[std::stoul(line.substr(0, space))] = line.substr(space + 1);
  }
  return out;
}

class GoldenTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Options options;
    options.service_accounts = false;  // the recorded server had no controllers
    auto server = ApiServer::Start(runtime_, random_, options);
    ASSERT_TRUE(server.ok()) << server.error().ToString();
    server_ = std::move(*server);
    auto config = kube::ParseKubeconfig(server_->Kubeconfig().ValueOr(""), "");
    ASSERT_TRUE(config.ok()) << config.error().ToString();
    net::HttpClientOptions client;
    client.ca_pem = config->ca_pem;
    client.client_cert_pem = config->client_cert_pem;
    client.client_key_pem = config->client_key_pem;
    client_ = net::MakeHttpClient(std::move(client));
  }

  net::HttpResponse Send(const Json& recorded) {
    net::HttpRequest request;
    request.method = StringAt(recorded, "method");
    request.url = server_->url() + StringAt(recorded, "path");
    const std::string type = StringAt(recorded, "contentType");
    if (!type.empty()) request.headers.Add("Content-Type", type);
    const std::string accept = StringAt(recorded, "accept");
    if (!accept.empty()) request.headers.Add("Accept", accept);
    request.headers.Add("User-Agent", "golden/1.0");
    std::string body;
    if (const Json* given = Find(recorded, "body"); given && !given->is_null()) {
      body = given->is_string() ? std::string(given->as_string()) : ToJson(*given);
    }
    request.body = AsBytes(body);
    auto response = client_->Do(request);
    EXPECT_TRUE(response.ok()) << response.error().ToString();
    return response.ok() ? std::move(*response) : net::HttpResponse{};
  }

  SystemClock clock_;
  ThreadRuntime runtime_{clock_};
  SystemRandom random_;
  std::unique_ptr<ApiServer> server_;
  std::unique_ptr<net::HttpClient> client_;
};

TEST_F(GoldenTest, AnswersAsARealServer) {
  const auto differences = Differences();
  std::size_t agreed = 0, number = 0;
  std::set<std::size_t> differ;
  for (const std::string& line : Lines(kFolder + "golden.jsonl")) {
    const auto recorded = ParseJson(line);
    ASSERT_TRUE(recorded.ok()) << recorded.error().ToString();
    const auto response = Send(*recorded);
    const std::string difference = Compare(*recorded, response.status, response.body,
                                           std::string(response.headers.Get("Warning")));
    if (difference.empty()) {
      ++agreed;
      EXPECT_EQ(differences.count(number), 0U)
          << number << " is listed as different but agrees: take it off differences.txt";
    } else {
      differ.insert(number);
      if (!differences.contains(number)) {
        ADD_FAILURE() << number << " " << StringAt(*recorded, "label") << ": "
                      << StringAt(*recorded, "method") << " " << StringAt(*recorded, "path") << "\n"
                      << difference;
      }
    }
    ++number;
  }
  EXPECT_EQ(number, 393U);
  EXPECT_GE(agreed, kMustAgree);
}

}  // namespace
}  // namespace thinsnap::apiserver
