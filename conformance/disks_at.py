"""Small file systems of their own in files, and cuts of them: what a disk would hold if the power went now.

Needs root and loop devices; where there are none a part that uses this fails and says so. Python's standard library only.
"""
import ctypes
import fcntl
import glob
import os
import shutil
import signal
import subprocess
import time

from serving import Failed, expect, wait_for

# linux/fs.h: _IOW(0x94, 9, int).
FICLONE = 0x40049409
# fcntl.h: begin to write these pages, and no more.
SYNC_FILE_RANGE_WRITE = 2
MIB = 1 << 20


def system(*words, check=True):
    done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)
    if check and done.returncode != 0:
        raise Failed(f"{' '.join(words[:2])} exited {done.returncode}: {done.stderr.strip()[-400:]}")
    return done


class Mounted:
    """A file system in a file, mounted while it is open. `make` writes it; without, what the image holds is mounted (and its journal replayed)."""

    def __init__(self, image, place, options=(), kind="ext4"):
        self.image, self.place, self.kind = image, place, kind
        self.options = ",".join(["loop", *options])
        self.open = False

    def make(self, size, *flags):
        with open(self.image, "wb") as image:
            image.truncate(size)
        quiet = ("-q", "-F") if self.kind == "ext4" else ("-q",)
        system(f"mkfs.{self.kind}", *quiet, *flags, self.image)
        return self

    def mount(self):
        os.makedirs(self.place, exist_ok=True)
        system("mount", "-t", self.kind, "-o", self.options, self.image, self.place)
        self.open = True
        return self

    def remount(self, option):
        return system("mount", "-o", f"remount,{option}", self.place, check=False).returncode == 0

    def close(self):
        if self.open:
            self.open = False
            # A process that has just ended may still be let go of.
            wait_for("the file system is let go", 20, lambda: system("umount", self.place, check=False).returncode == 0, every=0.1)

    def __enter__(self):
        return self.mount()

    def __exit__(self, *_):
        self.close()


class Ram:
    """A tmpfs, for a disk that is full at once."""

    def __init__(self, place, size, inodes=0):
        self.place, self.size, self.inodes = place, size, inodes

    def __enter__(self):
        os.makedirs(self.place, exist_ok=True)
        more = f",nr_inodes={self.inodes}" if self.inodes else ""
        system("mount", "-t", "tmpfs", "-o", f"size={self.size}{more},mode=700", "none", self.place)
        return self

    def __exit__(self, *_):
        wait_for("the file system is let go", 20, lambda: system("umount", self.place, check=False).returncode == 0, every=0.1)


class Cutter:
    """Where images lie that are to be cut. On a file system that can clone (XFS), a clone is one moment of the image, also in the
    middle of a sync; where the kernel has none, the processes are stopped, and the image is copied when none is in the kernel."""

    def __init__(self, work, size=4096 * MIB):
        self.folder = os.path.join(work, "images")
        self.clones = False
        self.host = Mounted(os.path.join(work, "host.img"), self.folder, kind="xfs")
        if "\txfs\n" in open("/proc/filesystems").read() and shutil.which("mkfs.xfs"):
            self.host.make(size, "-m", "reflink=1")
            self.host.mount()
            self.clones = True
        else:
            os.makedirs(self.folder, exist_ok=True)

    def cut(self, image, copy, process):
        """A copy of the image as it is at one moment under load. Answers the time at which it began."""
        begun = time.time()
        if self.clones:
            with open(image, "rb") as source, open(copy, "wb") as target:
                fcntl.ioctl(target.fileno(), FICLONE, source.fileno())
            return begun
        process.send_signal(signal.SIGSTOP)
        try:
            wait_for("every thread stands still", 10, lambda: stands(process.pid), every=0.001)
            system("cp", "--sparse=always", image, copy)
        finally:
            process.send_signal(signal.SIGCONT)
        return begun

    def close(self):
        self.host.close()


def stands(pid):
    """Whether every thread is stopped: none is inside a sync any more."""
    for path in glob.glob(f"/proc/{pid}/task/*/stat"):
        with open(path) as stat:
            if stat.read().rsplit(")", 1)[1].split()[0] not in ("T", "t", "Z"):
                return False
    return True


def write_early(folder, dice):
    """Lets the kernel write some pages of some files before anybody asks for it, as it may at any time: nothing in order, no name made
    durable. What comes of it must not matter."""
    libc = ctypes.CDLL(None, use_errno=True)
    paths = [path for path in glob.glob(os.path.join(folder, "**"), recursive=True) if os.path.isfile(path)]
    for path in dice.sample(sorted(paths), min(8, len(paths))):
        try:
            file = os.open(path, os.O_RDONLY)
        except OSError:
            continue
        try:
            size = os.fstat(file).st_size
            start = dice.randrange(size // 4096 + 1) * 4096
            libc.sync_file_range(file, ctypes.c_int64(start), ctypes.c_int64(dice.choice((4096, 65536, 0))), SYNC_FILE_RANGE_WRITE)
        finally:
            os.close(file)


def fill(path, leave=0, beyond_root=True):
    """Fills the file system that `path` lies on, but for `leave` bytes, with a file at `path`."""
    stat = os.statvfs(os.path.dirname(path))
    free = (stat.f_bfree if beyond_root else stat.f_bavail) * stat.f_frsize
    with open(path, "ab", buffering=0) as file:
        try:
            os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, max(free - leave, 1))
        except OSError:
            pass
        piece = MIB
        while leave == 0 and piece >= 512:
            try:
                file.write(b"\0" * piece)
            except OSError:
                piece //= 2
    expect(os.path.getsize(path) > 0, "the filler is empty")
