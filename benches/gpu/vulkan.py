"""What Vulkan needs to reach a GPU, and how to make up for what a bare machine lacks."""

import ctypes
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

# What the loader or NVIDIA's driver opens, and the Debian packages that have it: as in `diagnosis.rs` of `clustering`.
PACKAGES = {
    "libvulkan.so.1": "libvulkan1",
    "libEGL.so.1": "libegl1",
    "libGLdispatch.so.0": "libglvnd0",
    "libOpenGL.so.0": "libopengl0",
    "libGL.so.1": "libgl1",
    "libGLX.so.0": "libglx0",
    "libGLESv2.so.2": "libgles2",
    "libX11.so.6": "libx11-6",
    "libxcb.so.1": "libxcb1",
    "libXext.so.6": "libxext6",
    "libXau.so.6": "libxau6",
    "libXdmcp.so.6": "libxdmcp6",
    "libbsd.so.0": "libbsd0",
    "libmd.so.0": "libmd0",
    "libX11-xcb.so.1": "libx11-xcb1",
}
NVIDIA = "libGLX_nvidia.so.0"
# Where the loader looks without being told, and where some containers have the file instead.
USUAL = [Path("/etc/vulkan/icd.d"), Path("/usr/local/share/vulkan/icd.d"), Path("/usr/share/vulkan/icd.d")]
ELSEWHERE = Path("/usr/local/nvidia/share/vulkan/icd.d/nvidia_icd.json")
# NVIDIA's driver goes through EGL where there is no X server.
EGL_ELSEWHERE = Path("/usr/local/nvidia/share/glvnd/egl_vendor.d/10_nvidia.json")


@dataclass
class Vulkan:
    """What was found, and the environment in which programs see the GPU."""

    environment: dict[str, str] = field(default_factory=dict)
    carried: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    driver_files: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def prepare(libraries: Path, work: Path) -> Vulkan:
    """Looks for what Vulkan needs; takes what is missing from `libraries`, by links in the folder `work`."""
    found = Vulkan()
    add_libraries(found, libraries, work / "lib")
    add_driver_file(found, work)
    if found.missing:
        packages = " ".join(PACKAGES[name] for name in found.missing)
        found.notes.append(f"missing: {', '.join(found.missing)}; on Debian, apt-get install {packages}")
    if found.carried:
        found.notes.append(f"not on this machine, taken from what was carried: {', '.join(found.carried)}")
    return found


def add_libraries(found: Vulkan, libraries: Path, links: Path) -> None:
    absent = [name for name in PACKAGES if not opens(name)]
    links.mkdir(parents=True, exist_ok=True)
    for name in absent:
        carried = libraries / name
        if carried.exists():
            link = links / name
            link.unlink(missing_ok=True)
            link.symlink_to(carried.resolve())
            found.carried.append(name)
        else:
            found.missing.append(name)
    if found.carried:
        before = os.environ.get("LD_LIBRARY_PATH")
        found.environment["LD_LIBRARY_PATH"] = f"{links}:{before}" if before else str(links)


def add_driver_file(found: Vulkan, work: Path) -> None:
    """Finds the driver files; where NVIDIA's driver has none that the loader would find, names or writes one."""
    named = os.environ.get("VK_DRIVER_FILES") or os.environ.get("VK_ICD_FILENAMES")
    if named:
        found.driver_files = named.split(":")
        absent = [name for name in found.driver_files if not Path(name).exists()]
        found.notes += [f"VK_DRIVER_FILES names {name}, which is not there" for name in absent]
        return
    files = [file for folder in USUAL if folder.is_dir() for file in sorted(folder.glob("*.json"))]
    found.driver_files = [str(file) for file in files]
    if any("nvidia" in file.name for file in files) or not Path("/dev/nvidiactl").exists():
        return
    if ELSEWHERE.exists():
        file = ELSEWHERE
    elif opens(NVIDIA):
        file = work / "nvidia_icd.json"
        driver = {"library_path": NVIDIA, "api_version": "1.3.0"}
        file.write_text(json.dumps({"file_format_version": "1.0.1", "ICD": driver}))
    else:
        found.notes.append(f"an NVIDIA GPU is there, but neither a driver file nor {NVIDIA}: install NVIDIA's driver")
        return
    found.driver_files.append(str(file))
    found.environment["VK_DRIVER_FILES"] = ":".join(found.driver_files)
    if EGL_ELSEWHERE.exists():
        found.environment["__EGL_VENDOR_LIBRARY_FILENAMES"] = str(EGL_ELSEWHERE)
    found.notes.append(f"driver file, which the loader would not find: {file}")


def opens(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
