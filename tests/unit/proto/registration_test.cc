// The socket by which a kubelet finds the driver, with a kubelet's client.
#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <memory>
#include <mutex>
#include <stdlib.h>
#include <string>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

#include "csi/proto/registration.grpc.pb.h"
#include "csi/proto/registration_server.h"

namespace thinsnap::proto {
namespace {

using testing::HasSubstr;

// Goes with the object.
struct Folder {
  Folder() { EXPECT_NE(mkdtemp(path.data()), nullptr); }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string path = "/tmp/thinsnap-test-XXXXXX";
};

class RegistrationTest : public testing::Test {
 protected:
  Result<std::unique_ptr<RegistrationServer>> Start(const std::string& folder) {
    RegistrationOptions options;
    options.folder = folder;
    options.driver_name = "csi.thinsnap.io";
    options.endpoint = "/var/lib/kubelet/plugins/csi.thinsnap.io/csi.sock";
    options.on_status = [this](const Status& status) {
      const std::scoped_lock lock(mutex_);
      said_.push_back(status.ok() ? "" : status.error().message());
    };
    return RegistrationServer::Start(std::move(options));
  }
  std::string Socket() const { return folder_.path + "/csi.thinsnap.io-reg.sock"; }
  std::unique_ptr<pluginregistration::Registration::Stub> Kubelet() const {
    return pluginregistration::Registration::NewStub(
        grpc::CreateChannel("unix:" + Socket(), grpc::InsecureChannelCredentials()));
  }

  Folder folder_;
  std::mutex mutex_;
  std::vector<std::string> said_;
};

TEST_F(RegistrationTest, AKubeletLearnsWhereTheDriverIs) {
  const auto server = Start(folder_.path);
  ASSERT_TRUE(server.ok()) << server.error().ToString();
  const auto kubelet = Kubelet();
  for (int i = 0; i < 3; ++i) {  // a kubelet that is started again asks again
    grpc::ClientContext context;
    pluginregistration::PluginInfo info;
    ASSERT_TRUE(kubelet->GetInfo(&context, {}, &info).ok());
    EXPECT_EQ(info.type(), "CSIPlugin");
    EXPECT_EQ(info.name(), "csi.thinsnap.io");
    EXPECT_EQ(info.endpoint(), "/var/lib/kubelet/plugins/csi.thinsnap.io/csi.sock");
    EXPECT_THAT(info.supported_versions(), testing::ElementsAre("1.0.0"));
  }
}

TEST_F(RegistrationTest, WhatTheKubeletSaysIsTold) {
  const auto server = Start(folder_.path);
  ASSERT_TRUE(server.ok());
  const auto kubelet = Kubelet();
  pluginregistration::RegistrationStatus status;
  pluginregistration::RegistrationStatusResponse answer;
  for (const bool registered : {false, true}) {
    status.set_plugin_registered(registered);
    status.set_error(registered ? "" : "NodeGetInfo: no such node");
    grpc::ClientContext context;
    ASSERT_TRUE(kubelet->NotifyRegistrationStatus(&context, status, &answer).ok());
  }
  EXPECT_THAT(said_, testing::ElementsAre(HasSubstr("no such node"), ""));
}

TEST_F(RegistrationTest, TheSocketIsThereWhileTheDriverServesAndForRootAlone) {
  std::ofstream(Socket()) << "of a driver that was killed";
  {
    const auto server = Start(folder_.path);
    ASSERT_TRUE(server.ok());
    struct stat info = {};
    ASSERT_EQ(stat(Socket().c_str(), &info), 0);
    EXPECT_TRUE(S_ISSOCK(info.st_mode));
    EXPECT_EQ(info.st_mode & 0777, 0600U);
  }
  EXPECT_NE(access(Socket().c_str(), F_OK), 0);
}

TEST_F(RegistrationTest, AFolderThatIsNotThereIsNamed) {
  const auto server = Start(folder_.path + "/gone");
  ASSERT_FALSE(server.ok());
  EXPECT_THAT(server.error().message(), HasSubstr(folder_.path + "/gone"));
  const auto long_one = folder_.path + "/" + std::string(100, 'x');
  ASSERT_EQ(mkdir(long_one.c_str(), 0700), 0);
  EXPECT_TRUE(Start(long_one).Is(Code::kInvalidArgument));
}

}  // namespace
}  // namespace thinsnap::proto
