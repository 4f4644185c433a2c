// SPDX-License-Identifier: Apache-2.0
//
// What /proc/<pid>/cgroup looks like under container runtimes, Kubernetes, batch schedulers and systemd, and what we
// make of it.
#include "collect/place.hpp"

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <iterator>
#include <ostream>
#include <random>
#include <string>
#include <utility>

#include <gtest/gtest.h>

namespace memtally::collect {
namespace {

const std::string kId = "5e2b1c0a9d4f4c8f0f6ab1f0f3e8c5a29c7d10b6e4f2a8d35b7c9e1f0a2d4c6b";
const std::string kOtherId = "0fedcba9876543210fedcba9876543210fedcba9876543210fedcba987654321";
const std::string kPod = "0f3a52c1-7be4-4a54-9d3e-2f6a8c1b7d90";
const std::string kPodUnit = "0f3a52c1_7be4_4a54_9d3e_2f6a8c1b7d90";

struct Case {
  const char* name;
  std::string text;  // of /proc/<pid>/cgroup
  Place expected;    // without cgroup
  std::string shown;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

Place MakePlace(std::string runtime, std::string container, std::string pod, std::string job, std::string service) {
  return {"", std::move(runtime), std::move(container), std::move(pod), std::move(job), std::move(service)};
}

Place In(std::string runtime, std::string container, std::string service = "") {
  return MakePlace(std::move(runtime), std::move(container), "", "", std::move(service));
}

Place InPod(std::string runtime, std::string container) {
  return MakePlace(std::move(runtime), std::move(container), kPod, "", "");
}

Place Job(std::string job, std::string service = "") {
  return MakePlace("", "", "", std::move(job), std::move(service));
}

Place Unit(std::string service) { return MakePlace("", "", "", "", std::move(service)); }

// A process of cgroup v1 is in a hierarchy for each controller.
std::string V1(const std::string& path) {
  return "12:pids:" + path + "\n11:memory:" + path + "\n4:cpu,cpuacct:" + path + "\n1:name=systemd:" + path +
         "\n0::/system.slice/containerd.service\n";
}

std::string V2(const std::string& path) { return "0::" + path + "\n"; }

const std::string kRootless = "/user.slice/user-1000.slice/user@1000.service";
const std::string kBurstable = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + kPodUnit + ".slice";
const std::string kBestEffort =
    "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + kPodUnit + ".slice";
const std::string kGuaranteed = "/kubepods.slice/kubepods-pod" + kPodUnit + ".slice";
const std::string kShortId = kId.substr(0, 12);
const std::string kShownPod = "pod 0f3a52c1";

const Case kCases[] = {
    {"docker_cgroupfs_v1", V1("/docker/" + kId), In("docker", kId), "docker " + kShortId},
    {"docker_systemd_v1", V1("/system.slice/docker-" + kId + ".scope"), In("docker", kId), "docker " + kShortId},
    {"docker_cgroupfs_v2", V2("/docker/" + kId), In("docker", kId), "docker " + kShortId},
    {"docker_systemd_v2", V2("/system.slice/docker-" + kId + ".scope"), In("docker", kId), "docker " + kShortId},
    {"docker_rootless", V2(kRootless + "/user.slice/docker-" + kId + ".scope"), In("docker", kId),
     "docker " + kShortId},
    {"docker_in_docker", V2("/docker/" + kOtherId + "/docker/" + kId), In("docker", kId), "docker " + kShortId},
    {"docker_seen_by_its_neighbour", V2("/../docker-" + kId + ".scope"), In("docker", kId), "docker " + kShortId},
    {"docker_cgroup_was_removed", V2("/system.slice/docker-" + kId + ".scope (deleted)"), In("docker", kId),
     "docker " + kShortId},
    {"ecs_task", V1("/ecs/9781c248-0edd-4cdb-9a93-f63cb662a5d3/" + kId), In("", kId), "container " + kShortId},

    {"podman_rootful", V2("/machine.slice/libpod-" + kId + ".scope/container"), In("podman", kId),
     "podman " + kShortId},
    {"podman_rootful_v1", V1("/machine.slice/libpod-" + kId + ".scope"), In("podman", kId), "podman " + kShortId},
    {"podman_pod", V2("/machine.slice/machine-libpod_pod_" + kOtherId + ".slice/libpod-" + kId + ".scope"),
     In("podman", kId), "podman " + kShortId},
    {"podman_rootless", V2(kRootless + "/user.slice/libpod-" + kId + ".scope/container"), In("podman", kId),
     "podman " + kShortId},
    {"podman_monitor", V2("/machine.slice/libpod-conmon-" + kId + ".scope"), In("podman", kId), "podman " + kShortId},
    {"podman_cgroupfs", V2("/libpod_parent/libpod-" + kId), In("podman", kId), "podman " + kShortId},
    {"podman_cgroupfs_monitor", V2("/libpod_parent/conmon"), Place{}, ""},
    {"podman_under_a_service", V2("/system.slice/web.service/libpod-payload-" + kId), In("podman", kId),
     "podman " + kShortId},
    {"systemd_inside_podman", V2("/machine.slice/libpod-" + kId + ".scope/container/system.slice/nginx.service"),
     In("podman", kId, "nginx.service"), "podman " + kShortId},

    {"nerdctl_systemd", V2("/system.slice/nerdctl-" + kId + ".scope"), In("containerd", kId), "containerd " + kShortId},
    {"nerdctl_cgroupfs", V2("/default/" + kId), In("containerd", kId), "containerd " + kShortId},
    {"containerd_kubernetes_namespace", V1("/k8s.io/" + kId), In("containerd", kId), "containerd " + kShortId},

    {"kubernetes_guaranteed", V2(kGuaranteed + "/cri-containerd-" + kId + ".scope"), InPod("containerd", kId),
     kShownPod},
    {"kubernetes_burstable", V2(kBurstable + "/cri-containerd-" + kId + ".scope"), InPod("containerd", kId), kShownPod},
    {"kubernetes_best_effort", V2(kBestEffort + "/cri-containerd-" + kId + ".scope"), InPod("containerd", kId),
     kShownPod},
    {"kubernetes_v1_systemd", V1(kBestEffort + "/cri-containerd-" + kId + ".scope"), InPod("containerd", kId),
     kShownPod},
    {"kubernetes_crio", V2(kBurstable + "/crio-" + kId + ".scope"), InPod("cri-o", kId), kShownPod},
    {"kubernetes_crio_inner", V2(kBurstable + "/crio-" + kId + ".scope/container"), InPod("cri-o", kId), kShownPod},
    {"kubernetes_crio_monitor", V2(kBurstable + "/crio-conmon-" + kId + ".scope"), InPod("cri-o", kId), kShownPod},
    {"kubernetes_docker", V1(kBurstable + "/docker-" + kId + ".scope"), InPod("docker", kId), kShownPod},
    {"kubernetes_cgroupfs_guaranteed", V1("/kubepods/pod" + kPod + "/" + kId), InPod("kubernetes", kId), kShownPod},
    {"kubernetes_cgroupfs_burstable", V1("/kubepods/burstable/pod" + kPod + "/" + kId), InPod("kubernetes", kId),
     kShownPod},
    {"kubernetes_cgroupfs_best_effort", V2("/kubepods/besteffort/pod" + kPod + "/" + kId), InPod("kubernetes", kId),
     kShownPod},
    {"kubernetes_cgroupfs_crio", V2("/kubepods/besteffort/pod" + kPod + "/crio-" + kId), InPod("cri-o", kId),
     kShownPod},
    {"kubernetes_mixed_drivers",
     V1("/system.slice/containerd.service/kubepods-burstable-pod" + kPodUnit + ".slice:cri-containerd:" + kId),
     InPod("containerd", kId), kShownPod},
    {"kubernetes_static_pod", V2("/kubepods/burstable/podd4f1b1c0a9d44c8f0f6ab1f0f3e8c5a2/" + kId),
     MakePlace("kubernetes", kId, "d4f1b1c0a9d44c8f0f6ab1f0f3e8c5a2", "", ""), "pod d4f1b1c0"},
    {"kubernetes_in_docker",
     V2("/docker/" + kOtherId +
        "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod" +
        kPodUnit + ".slice/cri-containerd-" + kId + ".scope"),
     InPod("containerd", kId), kShownPod},
    {"kubernetes_pod_without_container", V2(kBurstable), InPod("kubernetes", ""), kShownPod},

    {"slurm_v1", V1("/slurm/uid_1000/job_8731/step_0/task_3"), Job("slurm:8731"), "slurm:8731"},
    {"slurm_v1_host", V1("/slurm_node07/uid_1000/job_8731/step_batch"), Job("slurm:8731"), "slurm:8731"},
    {"slurm_v1_in_one_controller",
     "11:memory:/slurm/uid_1000/job_42/step_extern\n5:cpuset:/\n1:name=systemd:/system.slice/slurmd.service\n0::/\n",
     Job("slurm:42"), "slurm:42"},
    {"slurm_v2", V2("/system.slice/slurmstepd.scope/job_8731/step_0/user/task_3"),
     Job("slurm:8731", "slurmstepd.scope"), "slurm:8731"},
    {"slurm_v2_host", V2("/system.slice/node07_slurmstepd.scope/job_9/step_interactive/user/task_0"),
     Job("slurm:9", "node07_slurmstepd.scope"), "slurm:9"},
    {"pbs_v2", V2("/pbs_jobs.service/jobid/1234.head"), Job("pbs:1234.head", "pbs_jobs.service"), "pbs:1234.head"},
    {"pbs_v1", V1("/pbspro/1234.head"), Job("pbs:1234.head"), "pbs:1234.head"},
    {"pbs_systemd", V1("/pbspro.slice/pbspro-1234.head.slice"), Job("pbs:1234.head"), "pbs:1234.head"},
    {"lsf", V1("/lsf/cluster1/job.555.30121.1700000000"), Job("lsf:555"), "lsf:555"},

    {"lxc_payload", V2("/lxc.payload.web/system.slice/nginx.service"), In("lxc", "web", "nginx.service"), "lxc web"},
    {"lxc_monitor", V2("/lxc.monitor.web"), In("lxc", "web"), "lxc web"},
    {"lxc_v1", V1("/lxc/web"), In("lxc", "web"), "lxc web"},
    {"proxmox", V2("/lxc/101/ns/init.scope"), In("lxc", "101", "init.scope"), "lxc 101"},
    {"libvirt_lxc", V2("/machine.slice/machine-lxc\\x2d77\\x2ddata\\x2dbase.scope"), In("lxc", "data-base"),
     "lxc data-base"},
    {"nspawn_service", V2("/machine.slice/systemd-nspawn@build\\x2dbox.service/payload"),
     In("systemd-nspawn", "build-box"), "systemd-nspawn build-box"},
    {"nspawn_scope", V2("/machine.slice/machine-build\\x2dbox.scope"), In("systemd-nspawn", "build-box"),
     "systemd-nspawn build-box"},
    {"virtual_machine", V2("/machine.slice/machine-qemu\\x2d1\\x2dguest.scope/libvirt/emulator"),
     Unit("machine-qemu\\x2d1\\x2dguest.scope"), "machine-qemu\\x2d1\\x2dguest.scope"},

    {"service", V2("/system.slice/nginx.service"), Unit("nginx.service"), "nginx.service"},
    {"service_instance", V2("/system.slice/system-serial\\x2dgetty.slice/serial-getty@ttyS0.service"),
     Unit("serial-getty@ttyS0.service"), "serial-getty@ttyS0.service"},
    {"service_with_folders", V2("/system.slice/inference.service/workers/3"), Unit("inference.service"),
     "inference.service"},
    {"service_with_a_mark", V2("/system.slice/_memory.max.service"), Unit("memory.max.service"), "memory.max.service"},
    {"login_session", V2("/user.slice/user-1000.slice/session-3.scope"), Unit("session-3.scope"), "session-3.scope"},
    {"login_session_v1",
     "11:memory:/user.slice/user-1000.slice/session-3.scope\n5:cpuset:/\n1:name=systemd:"
     "/user.slice/user-1000.slice/session-3.scope\n0::/user.slice/user-1000.slice/session-3.scope\n",
     Unit("session-3.scope"), "session-3.scope"},
    {"user_service", V2(kRootless + "/app.slice/notebook.service"), Unit("notebook.service"), "notebook.service"},
    {"init", V2("/init.scope"), Unit("init.scope"), "init.scope"},
    {"plain_folder", V2("/benchmarks/run1"), Place{}, ""},
    {"root", V2("/"), Place{}, ""},
    {"no_cgroups", "", Place{}, ""},
};

class PlaceTest : public testing::TestWithParam<Case> {};

TEST_P(PlaceTest, IsFound) {
  const Case& c = GetParam();
  Place place = PlaceOfCgroup(CgroupPath(c.text));
  EXPECT_EQ(place.runtime, c.expected.runtime);
  EXPECT_EQ(place.container, c.expected.container);
  EXPECT_EQ(place.pod, c.expected.pod);
  EXPECT_EQ(place.job, c.expected.job);
  EXPECT_EQ(place.service, c.expected.service);
  EXPECT_EQ(ShortPlace(place), c.shown);
}

INSTANTIATE_TEST_SUITE_P(Cgroups, PlaceTest, testing::ValuesIn(kCases),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(CgroupPathTest, TakesTheHierarchyThatTellsMost) {
  EXPECT_EQ(CgroupPath("0::/a\n"), "/a");
  EXPECT_EQ(CgroupPath("0::/a"), "/a");
  EXPECT_EQ(CgroupPath("3:memory:/b\n0::/a\n"), "/a");
  EXPECT_EQ(CgroupPath("3:memory:/b\n0::/\n"), "/b");
  EXPECT_EQ(CgroupPath("4:cpu:/\n3:memory:/b\n2:pids:/c\n"), "/b");
  EXPECT_EQ(CgroupPath("4:cpu:/\n3:memory:/docker/" + kId + "\n0::/a\n"), "/docker/" + kId);
  EXPECT_EQ(CgroupPath("4:cpu:/\n"), "/");
  EXPECT_EQ(CgroupPath("1:name=systemd:/a:b:c\n"), "/a:b:c");
}

TEST(CgroupPathTest, LeavesOutWhatIsNoLine) {
  EXPECT_EQ(CgroupPath(""), "");
  EXPECT_EQ(CgroupPath("\n\n"), "");
  EXPECT_EQ(CgroupPath("0:"), "");
  EXPECT_EQ(CgroupPath("0::"), "");
  EXPECT_EQ(CgroupPath("nonsense\n0::relative\n::/a\n"), "/a");
  EXPECT_EQ(CgroupPath(std::string("\0\0:\0:/a", 7)), "/a");
}

TEST(PlaceOfCgroupTest, BelievesWholeIdentifiersOnly) {
  // The ledger keeps 255 bytes of a path.
  const std::string path = kBurstable + "/cri-containerd-" + kId + ".scope";
  for (size_t length = 0; length <= path.size(); ++length) {
    const Place place = PlaceOfCgroup(path.substr(0, length));
    EXPECT_TRUE(place.container.empty() || place.container == kId) << length;
    EXPECT_TRUE(place.pod.empty() || place.pod == kPod) << length;
    if (length >= kBurstable.size()) {
      EXPECT_EQ(place.pod, kPod) << length;
    }
  }
  EXPECT_EQ(PlaceOfCgroup("/docker/" + kId.substr(1)).container, "");
  EXPECT_EQ(PlaceOfCgroup("/docker/" + kId + "0").container, "");
  EXPECT_EQ(PlaceOfCgroup("/docker/" + std::string(64, 'G')).container, "");
  EXPECT_EQ(PlaceOfCgroup("/docker/x" + kId).container, "");
  EXPECT_EQ(PlaceOfCgroup("/kubepods/pod" + kPod.substr(1)).pod, "");
  EXPECT_EQ(PlaceOfCgroup("/kubepods/pod0f3a52c1-7be4-4a54-9d3e_2f6a8c1b7d9-").pod, "");
  EXPECT_EQ(PlaceOfCgroup("/pod" + kPod).pod, "") << "not Kubernetes'";
  EXPECT_EQ(PlaceOfCgroup("/job_12").job, "") << "not Slurm's";
  EXPECT_EQ(PlaceOfCgroup("/slurm/job_12x").job, "");
  EXPECT_EQ(PlaceOfCgroup("/slurm/job_").job, "");
  EXPECT_EQ(PlaceOfCgroup("/.service/.scope").service, "");
}

TEST(PlaceOfCgroupTest, SurvivesHostilePaths) {
  for (const std::string& path :
       {std::string(), std::string("/"), std::string("//////"), std::string("../../.."), std::string(100'000, '/'),
        std::string(100'000, 'a'), std::string("/\0/\x1b[2J/\xff\xfe", 10),
        std::string("/machine.slice/machine-.scope"), std::string("/machine.slice/machine-\\x2.scope"),
        std::string("/machine.slice/machine-\\xzz\\x.scope"), std::string("/lxc.payload."),
        std::string("/systemd-nspawn@.service"), std::string("/kubepods/pod"), std::string("/pbspro/"),
        std::string("/lsf/c/job."), std::string("/:::::/-/--")}) {
    const Place place = PlaceOfCgroup(path);
    EXPECT_EQ(place.cgroup, path);
    EXPECT_EQ(place.pod + place.job, "") << path.substr(0, 80);
  }
}

TEST(PlaceOfCgroupTest, SurvivesPathsOfKnownPiecesInAnyOrder) {
  const std::string pieces[] = {
      "/",   "docker", "-",      kId,      ":",        ".scope",        ".service", "kubepods",
      "pod", kPod,     kPodUnit, ".slice", "machine-", "\\x2d",         "job_1",    "slurm",
      "lxc", "pbs",    "jobid",  "_",      "..",       "machine.slice", "qemu-",    "lsf"};
  std::mt19937 random(7);
  for (int i = 0; i < 20'000; ++i) {
    std::string path;
    for (auto n = random() % 12; n > 0; --n) path += pieces[random() % std::size(pieces)];
    const Place place = PlaceOfCgroup(path);
    EXPECT_TRUE(place.pod.empty() || place.pod == kPod) << path;
    EXPECT_TRUE(place.runtime.empty() || !(place.container.empty() && place.pod.empty())) << path;
    (void)ShortPlace(place);
  }
}

Identity Written() {
  Identity identity;
  identity.cgroup = "/system.slice/docker-" + kId + ".scope";
  identity.container = kId;
  identity.job = "slurm:7";
  return identity;
}

TEST(PlaceOfProcessTest, OfTheDeadIsWhatTheyWrote) {
  const Place place = PlaceOfProcess(0, Written());
  EXPECT_EQ(place.cgroup, Written().cgroup);
  EXPECT_EQ(place.runtime, "docker");
  EXPECT_EQ(place.container, kId);
  EXPECT_EQ(place.job, "slurm:7");
  // A pid that nobody can have.
  EXPECT_EQ(PlaceOfProcess(UINT32_MAX, Written()), place);
}

TEST(PlaceOfProcessTest, OfTheLivingIsWhatTheKernelSays) {
  std::string own;
  {
    FILE* file = fopen("/proc/self/cgroup", "re");
    ASSERT_NE(file, nullptr);
    char text[8192];
    own.assign(text, fread(text, 1, sizeof(text), file));
    fclose(file);
  }
  const auto pid = static_cast<uint32_t>(getpid());
  const std::string path = CgroupPath(own);
  EXPECT_EQ(PlaceOfProcess(pid, Identity{}), PlaceOfCgroup(path));
  Identity written;
  written.job = "slurm:7";
  EXPECT_EQ(PlaceOfProcess(pid, written).job, PlaceOfCgroup(path).job.empty() ? "slurm:7" : PlaceOfCgroup(path).job);
}

TEST(PlaceOfProcessTest, OfNobodyIsEmpty) { EXPECT_EQ(PlaceOfProcess(0, Identity{}), Place{}); }

TEST(ShortPlaceTest, NamesTheJobBeforeThePodBeforeTheContainerBeforeTheService) {
  Place place = MakePlace("docker", kId, kPod, "slurm:1", "a.service");
  EXPECT_EQ(ShortPlace(place), "slurm:1");
  place.job.clear();
  EXPECT_EQ(ShortPlace(place), kShownPod);
  place.pod.clear();
  EXPECT_EQ(ShortPlace(place), "docker " + kShortId);
  place.container.clear();
  EXPECT_EQ(ShortPlace(place), "a.service");
}

}  // namespace
}  // namespace memtally::collect
