"""What `zlayer doctor` thinks of what it saw: facts in, a finding with its fix out. Pure; `doctor` does the looking."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from zlayer.model.errors import ZlayerError
from zlayer.proxy.contract import ProxyProbe

Status = Literal["ok", "warn", "fail"]

GIB = 1 << 30
OLDEST_KERNEL = (5, 4)
NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
NEEDED_CONTROLLERS, WANTED_CONTROLLERS = ("memory", "cpu", "pids"), ("cpuset",)
CAPABILITIES = {
    "CAP_CHOWN": 0, "CAP_DAC_OVERRIDE": 1, "CAP_FOWNER": 3, "CAP_KILL": 5, "CAP_SETGID": 6, "CAP_SETUID": 7,
    "CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21, "CAP_MKNOD": 27,
}  # fmt: skip
CAP_SYS_RESOURCE = 24
NOT_UNDER_OVERLAY = (
    "overlay",
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "9p",
    "vfat",
    "exfat",
    "ntfs",
    "ecryptfs",
    "fuse",
    "virtiofs",
)
INSTALL = {
    "debian": "apt-get install -y", "ubuntu": "apt-get install -y", "fedora": "dnf install -y",
    "rhel": "dnf install -y", "centos": "dnf install -y", "arch": "pacman -S", "alpine": "apk add",
    "suse": "zypper install",
}  # fmt: skip
DEBIAN_NAMES = {"nftables": "nftables libnftables1"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `fix` is a command or a sentence, and empty when nothing is to be done."""

    name: str
    status: Status
    detail: str
    fix: str = ""

    @property
    def level(self) -> Status:
        """`status`, in the command line's word."""
        return self.status

    @property
    def message(self) -> str:
        """`detail`, in the command line's word."""
        return self.detail


def install(package: str, release: str) -> str:
    """The command that installs a package on the distribution whose /etc/os-release is `release`."""
    ids = " ".join(re.findall(r'^ID(?:_LIKE)?="?([^"\n]*)', release, re.MULTILINE)).split()
    command = next((INSTALL[name] for name in ids if name in INSTALL), "")
    named = DEBIAN_NAMES.get(package, package) if command.startswith("apt") else package
    return f"{command} {named}" if command else f"install {package} with your package manager"


def kernel(release: str) -> Finding:
    numbers = tuple(int(part) for part in re.findall(r"\d+", release)[:2])
    wanted = ".".join(map(str, OLDEST_KERNEL))
    if numbers >= OLDEST_KERNEL:
        return Finding("kernel", "ok", f"Linux {release}")
    return Finding("kernel", "fail", f"Linux {release} is older than {wanted}", f"install Linux {wanted} or newer")


@dataclass(frozen=True, slots=True)
class Rootfs:
    """The driver that makes root file systems, empty when that is not known; `named` by the configuration."""

    driver: str = ""
    named: bool = False

    @property
    def apart(self) -> Status | None:
        """How it is that overlayfs is not used: chosen, or for want of it. None: it is what is wanted."""
        if self.driver in ("", "overlay"):
            return None
        return "ok" if self.named else "warn"


UNKNOWN = Rootfs()


def overlayfs(filesystems: str, rootfs: Rootfs = UNKNOWN) -> Finding:
    """What another driver does without is no fault, where that one was named."""
    if "overlay" in filesystems.split():
        return Finding("overlayfs", "ok", "the kernel has overlayfs")
    if rootfs.apart:
        told = f"the kernel does not know overlayfs: {rootfs.driver} makes root file systems"
        return Finding("overlayfs", rootfs.apart, told, "" if rootfs.named else "modprobe overlay")
    return Finding("overlayfs", "fail", "the kernel does not know overlayfs", "modprobe overlay")


def namespaces(present: Sequence[str]) -> Finding:
    missing = [name for name in NAMESPACES if name not in present and name != "user"]
    if missing:
        fix = "use a kernel with CONFIG_NAMESPACES and all of its options"
        return Finding("namespaces", "fail", f"the kernel has no {', '.join(missing)} namespaces", fix)
    return Finding("namespaces", "ok", ", ".join(name for name in NAMESPACES if name in present))


def cgroups(layout: str, controllers: Sequence[str]) -> Finding:
    """`layout` is `v1`, `hybrid`, `v2`, or empty when nothing is mounted."""
    if not layout:
        fix = "mount -t cgroup2 none /sys/fs/cgroup"
        return Finding("cgroups", "fail", "no cgroup hierarchy is mounted", fix)
    missing = [name for name in NEEDED_CONTROLLERS if name not in controllers]
    unwanted = [name for name in WANTED_CONTROLLERS if name not in controllers]
    told = f"{layout} with {', '.join(sorted(controllers)) or 'no controllers'}"
    if "memory" in missing:
        fix = "add cgroup_enable=memory to the kernel's command line and reboot"
        return Finding("cgroups", "fail", f"{told}: no memory limits are possible", fix)
    if missing or unwanted:
        fix = f"mount or delegate: {', '.join(missing + unwanted)}; limits of that kind are not possible until then"
        return Finding("cgroups", "fail" if missing else "warn", f"{told}: lacks {', '.join(missing + unwanted)}", fix)
    return Finding("cgroups", "ok", told)


def capabilities(uid: int, effective: int) -> Finding:
    missing = [name for name, bit in CAPABILITIES.items() if not effective >> bit & 1]
    if missing:
        told = "not root" if uid else "root, but restricted"
        return Finding(
            "capabilities", "fail", f"{told}: lacks {', '.join(missing)}", "run zlayer as root (sudo zlayer ...)"
        )
    if not effective >> CAP_SYS_RESOURCE & 1:
        fix = "give the daemon CAP_SYS_RESOURCE if containers must have higher ulimits than it has"
        return Finding("capabilities", "warn", "lacks CAP_SYS_RESOURCE: ulimits cannot be raised above our own", fix)
    return Finding("capabilities", "ok", "everything containers need")


def proxy(found: ProxyProbe, release: str) -> Finding:
    """Needed as soon as a deployment has endpoints."""
    if found.ok:
        return Finding("proxy", "ok", f"{found.engine} serves endpoints")
    fix = install("haproxy", release) if "not installed" in found.reason else found.fix
    return Finding("proxy", "fail", f"endpoints cannot be served: {found.reason}", fix)


def rules(by: str, refusal: str, release: str) -> Finding:
    """`by` as `nft.availability`; `refusal` why a harmless question to nftables failed, or empty."""
    if not by:
        return Finding("nftables", "fail", "neither libnftables nor the nft command", install("nftables", release))
    if refusal:
        return Finding(
            "nftables", "fail", refusal, "run as root; load the kernel's modules: modprobe nf_tables nft_masq"
        )
    if by == "command":
        told = "only the nft command: rule changes cost a process each"
        return Finding("nftables", "warn", told, install("nftables", release))
    return Finding("nftables", "ok", "libnftables, in-process")


def forwarding(ip_forward: str, policy: str, bridge: str) -> Finding:
    """`policy` of the host's iptables FORWARD chain, empty when there is none."""
    if policy == "drop":
        fix = " && ".join(
            f"iptables -I FORWARD {rule} -j ACCEPT"
            for rule in (
                f"-i {bridge}",
                f"-o {bridge} -m conntrack --ctstate RELATED,ESTABLISHED",
                f"-i {bridge} -o {bridge}",
            )
        )
        return Finding("forwarding", "warn", "the host's FORWARD policy is DROP: containers cannot reach outside", fix)
    if ip_forward.strip() == "1":
        return Finding("forwarding", "ok", "net.ipv4.ip_forward is on")
    return Finding("forwarding", "ok", "net.ipv4.ip_forward is off; the daemon turns it on")


def port(bind: str, problem: str, running: int | None) -> Finding:
    """`problem`: why listening on `bind` fails; `running`: the pid of our daemon."""
    if running is not None:
        return Finding("port", "ok", f"our daemon runs (pid {running})")
    if problem:
        number = bind.rpartition(":")[2]
        fix = f'see who listens: ss -ltnp "sport = :{number}"; or use another: zlayer serve --bind 127.0.0.1:0 (or off)'
        return Finding("port", "fail", f"cannot listen on {bind}: {problem}", fix)
    return Finding("port", "ok", f"{bind} is free" if bind != "off" else "no TCP wanted")


def disk(path: str, free: int, inodes_free: int, inodes: int) -> Finding:
    """Bytes and inodes that an unprivileged process could still use where the data directory is."""
    told = f"{free / GIB:.1f} GiB free at {path}"
    fix = f"zlayer image ls, zlayer image rm; or use a larger disk with --data-dir (see: df -h {path})"
    if free < GIB:
        return Finding("disk", "fail", told, fix)
    if inodes and inodes_free < max(10_000, inodes // 50):
        return Finding("disk", "warn", f"{told}, but only {inodes_free} inodes", f"free inodes (see: df -i {path})")
    return Finding("disk", "warn", told, fix) if free < 5 * GIB else Finding("disk", "ok", told)


def s3(name: str, error: ZlayerError | None) -> Finding:
    """Pulls go on without the bucket."""
    if error is None:
        return Finding("s3", "ok", f"{name} answers")
    return Finding("s3", "warn", f"images are not shared by way of {name}: {error.message}", error.hint)


def filesystem(path: str, kind: str, rootfs: Rootfs = UNKNOWN) -> Finding:
    """`rootfs` was tried on it: what works there works, whatever is known of file systems of its kind."""
    if kind.partition(".")[0] in NOT_UNDER_OVERLAY and rootfs.driver != "overlay":
        fix = "put the data directory on ext4, xfs (ftype=1) or btrfs: zlayer --data-dir DIR, or ZLAYER_DATA_DIR"
        told = f"{path} is on {kind}, which cannot hold overlayfs's upper layers"
        if rootfs.apart:
            told = f"{told}: {rootfs.driver} makes root file systems"
            return Finding("filesystem", rootfs.apart, told, "" if rootfs.named else fix)
        return Finding("filesystem", "fail", told, fix)
    if kind == "tmpfs":
        fix = "put the data directory on a disk: zlayer --data-dir DIR"
        return Finding("filesystem", "warn", f"{path} is on tmpfs: gone after a reboot, and it fills memory", fix)
    return Finding("filesystem", "ok", f"{path} is on {kind}")


def open_files(hard: int) -> Finding:
    """`hard` is our own hard limit (the daemon raises its soft limit to it); -1 is unlimited."""
    if hard < 0 or hard >= 4096:
        return Finding("open files", "ok", f"up to {hard if hard >= 0 else 'any number'}")
    fix = "ulimit -Hn 65536 before starting the daemon, or LimitNOFILE=65536 in its systemd unit"
    return Finding("open files", "fail" if hard < 512 else "warn", f"at most {hard}: enough for few containers", fix)


def clock(now: float, built: float, synchronised: bool) -> Finding:
    """`built`: when this program was made, in the same seconds since 1970 as `now`."""
    if now < built - 86400:
        fix = "timedatectl set-ntp true, or set it: date -s 'YYYY-MM-DD HH:MM'"
        return Finding("clock", "fail", "the clock is behind: certificates and tokens will be refused", fix)
    if not synchronised:
        fix = "timedatectl set-ntp true (systemd-timesyncd or chrony)"
        return Finding("clock", "warn", "nothing keeps the clock right", fix)
    return Finding("clock", "ok", "synchronised")


def engines(usable: str, refusals: Mapping[str, tuple[str, str]], conmon: bool, release: str) -> list[Finding]:
    """`usable` is the engine that runs containers here; `refusals` engine -> (why not, fix) for those that do not."""
    found: list[Finding] = []
    if usable:
        others = "; ".join(f"not {why}" for why, _ in refusals.values() if "installed" not in why)
        found.append(Finding("engine", "ok", f"{usable} works" + (f" ({others})" if others else "")))
    elif all("installed" in why for why, _ in refusals.values()):
        found.append(Finding("engine", "fail", "no OCI engine is installed", install("runc", release)))
    else:
        fix = next((fix for why, fix in refusals.values() if fix and "installed" not in why), install("runc", release))
        found.append(Finding("engine", "fail", "; ".join(why for why, _ in refusals.values()), fix))
    if conmon:
        return [*found, Finding("conmon", "ok", "installed")]
    return [*found, Finding("conmon", "fail", "conmon is not installed", install("conmon", release))]
