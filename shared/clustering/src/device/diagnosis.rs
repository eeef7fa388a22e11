//! Why no GPU is seen, and what to install.
//!
//! A GPU is reached through Vulkan: a program opens the loader, the loader reads driver files, and these name the libraries of
//! drivers. Whatever is missing on the way, the loader says nothing but that there is no device.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

/// The loader of Vulkan.
const LOADER: &str = "libvulkan.so.1";

/// Libraries that the loader or NVIDIA's driver opens, and the Debian packages that have them.
const LIBRARIES: [(&str, &str); 15] = [
    (LOADER, "libvulkan1"),
    ("libEGL.so.1", "libegl1"),
    ("libGLdispatch.so.0", "libglvnd0"),
    ("libOpenGL.so.0", "libopengl0"),
    ("libGL.so.1", "libgl1"),
    ("libGLX.so.0", "libglx0"),
    ("libGLESv2.so.2", "libgles2"),
    ("libX11.so.6", "libx11-6"),
    ("libxcb.so.1", "libxcb1"),
    ("libXext.so.6", "libxext6"),
    ("libXau.so.6", "libxau6"),
    ("libXdmcp.so.6", "libxdmcp6"),
    ("libbsd.so.0", "libbsd0"),
    ("libmd.so.0", "libmd0"),
    ("libX11-xcb.so.1", "libx11-xcb1"),
];

/// Where containers have the driver file of NVIDIA that is not where the loader looks.
const ELSEWHERE: &str = "/usr/local/nvidia/share/vulkan/icd.d/nvidia_icd.json";

/// Who makes a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Vendor {
    Nvidia,
    Amd,
    Intel,
    Other,
}

impl Vendor {
    fn name(self) -> &'static str {
        match self {
            Self::Nvidia => "an NVIDIA GPU",
            Self::Amd => "an AMD GPU",
            Self::Intel => "an Intel GPU",
            Self::Other => "a GPU",
        }
    }

    /// What has the driver.
    fn remedy(self) -> &'static str {
        match self {
            Self::Nvidia => {
                "install NVIDIA's (Debian: `apt-get install nvidia-vulkan-icd`, from non-free; in a container: \
                 NVIDIA_DRIVER_CAPABILITIES=all), or name its nvidia_icd.json in VK_DRIVER_FILES"
            }
            _ => "on Debian, `apt-get install mesa-vulkan-drivers`",
        }
    }

    /// Whether a driver is for such a GPU, by the names of its files.
    fn has(self, driver: &Driver) -> bool {
        let names = format!("{} {}", driver.file.display(), driver.library).to_lowercase();
        let words: &[&str] = match self {
            Self::Nvidia => &["nvidia"],
            Self::Amd => &["radeon", "amd"],
            Self::Intel => &["intel"],
            Self::Other => return !names.contains("lvp"),
        };
        words.iter().any(|word| names.contains(word))
    }
}

/// A driver file, and the library that it names.
#[derive(Debug)]
struct Driver {
    file: PathBuf,
    library: String,
}

/// What a machine has.
struct Machine<'a> {
    /// The GPUs that the kernel shows.
    vendors: Vec<Vendor>,
    /// The drivers that the loader would find.
    drivers: Vec<Driver>,
    /// Driver files that were named and cannot be read.
    unreadable: Vec<PathBuf>,
    /// Whether the file [`ELSEWHERE`] is there.
    is_elsewhere: bool,
    /// Opens a library as the loader does, or says why it cannot.
    open: &'a dyn Fn(&str) -> Result<(), String>,
}

/// Why this machine's GPU is not seen: what is missing first on the way to it, and what to do.
pub(super) fn why_no_gpu() -> String {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (drivers, unreadable) = drivers(&variable);
    let machine = Machine {
        vendors: vendors(Path::new("/")),
        drivers,
        unreadable,
        is_elsewhere: Path::new(ELSEWHERE).is_file(),
        open: &open,
    };
    machine.why_no_gpu()
}

impl Machine<'_> {
    fn why_no_gpu(&self) -> String {
        let Some(&vendor) = self.vendors.first() else {
            return "the kernel shows none (in /dev/dri, /dev/nvidiactl, /dev/kfd or /dev/dxg)".to_owned();
        };
        let gpu = vendor.name();
        if let Err(problem) = (self.open)(LOADER) {
            let missing = self.with_usual(vendor, &problem);
            return format!("{gpu} is there, but Vulkan's loader is not: {}", lacking(&problem, &missing));
        }
        if let Some(file) = self.unreadable.first() {
            return format!("{gpu} is there, but VK_DRIVER_FILES names {}, which is no driver file", file.display());
        }
        let Some(driver) = self.drivers.iter().find(|driver| vendor.has(driver)) else {
            let elsewhere = format!("set VK_DRIVER_FILES={ELSEWHERE}");
            let is_there = vendor == Vendor::Nvidia && self.is_elsewhere;
            let remedy = if is_there { elsewhere.as_str() } else { vendor.remedy() };
            return format!("{gpu} is there, but no driver file for it (as in /usr/share/vulkan/icd.d): {remedy}");
        };
        let (file, library) = (driver.file.display(), &driver.library);
        if let Err(problem) = (self.open)(library) {
            let missing = self.with_usual(vendor, &problem);
            let what = lacking(&problem, &missing);
            return format!("{gpu} is there, but its driver {library} ({file}) cannot be opened: {what}");
        }
        let missing = self.with_usual(vendor, "");
        if !missing.is_empty() {
            let what = lacking("", &missing);
            return format!("{gpu} is there, but its driver {library} ({file}) shows no device: {what}");
        }
        format!(
            "{gpu} is there, but its driver {library} ({file}) shows no device: see what `vulkaninfo --summary` says (Debian: \
             `apt-get install vulkan-tools`), and whether this user may open the files in /dev"
        )
    }

    /// The library that a problem names, and for NVIDIA's driver, which opens some later, those of [`LIBRARIES`] that are missing.
    fn with_usual(&self, vendor: Vendor, problem: &str) -> Vec<String> {
        let mut missing: Vec<String> = missing_library(problem).map(str::to_owned).into_iter().collect();
        if vendor == Vendor::Nvidia {
            let absent = LIBRARIES.iter().map(|(library, _)| *library).filter(|library| (self.open)(library).is_err());
            missing.extend(absent.filter(|library| missing_library(problem) != Some(*library)).map(str::to_owned));
        }
        missing
    }
}

/// What is lacking, and the packages that have it; the problem itself where no library is missing.
fn lacking(problem: &str, missing: &[String]) -> String {
    if missing.is_empty() {
        return problem.to_owned();
    }
    let package = |library: &String| LIBRARIES.iter().find(|(name, _)| name == library).map(|(_, package)| *package);
    let packages: Vec<&str> = missing.iter().filter_map(package).collect();
    let remedy = if packages.is_empty() {
        "install the packages of the driver".to_owned()
    } else {
        format!("on Debian, `apt-get install {}`", packages.join(" "))
    };
    let verb = if missing.len() == 1 { "is" } else { "are" };
    format!("{} {verb} missing; {remedy}", missing.join(", "))
}

/// The library that is missing, by what the dynamic linker says: it may be one that the opened one needs.
fn missing_library(problem: &str) -> Option<&str> {
    let (library, _) = problem.split_once(": cannot open shared object file")?;
    library.split_whitespace().next_back()
}

/// The GPUs that the kernel of a machine shows, without repeats.
fn vendors(root: &Path) -> Vec<Vendor> {
    let is_there = |name: &str| root.join(name).exists();
    let mut found = Vec::new();
    if is_there("dev/nvidiactl") {
        found.push(Vendor::Nvidia);
    }
    let mut nodes: Vec<PathBuf> = entries(&root.join("dev/dri"));
    nodes.retain(|node| node.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with("renderD")));
    for name in nodes.iter().filter_map(|node| node.file_name()) {
        let id = fs::read_to_string(root.join("sys/class/drm").join(name).join("device/vendor")).unwrap_or_default();
        found.push(match id.trim() {
            "0x10de" => Vendor::Nvidia,
            "0x1002" => Vendor::Amd,
            "0x8086" => Vendor::Intel,
            _ => Vendor::Other,
        });
    }
    if is_there("dev/kfd") {
        found.push(Vendor::Amd);
    }
    if is_there("dev/dxg") {
        found.push(Vendor::Other);
    }
    let mut once: Vec<Vendor> = Vec::new();
    for vendor in found {
        if !once.contains(&vendor) {
            once.push(vendor);
        }
    }
    once
}

/// The drivers that the loader would find, and the files among those that were named that are none.
///
/// As the loader's document LoaderDriverInterface.md says.
fn drivers(variable: &dyn Fn(&str) -> Option<String>) -> (Vec<Driver>, Vec<PathBuf>) {
    let list = |value: String| value.split(':').map(PathBuf::from).collect::<Vec<_>>();
    let named = variable("VK_DRIVER_FILES").or_else(|| variable("VK_ICD_FILENAMES")).map(list);
    let is_named = named.is_some();
    let mut places = named.unwrap_or_else(|| usual_folders(variable));
    places.extend(variable("VK_ADD_DRIVER_FILES").map(list).unwrap_or_default());
    let (mut drivers, mut unreadable) = (Vec::new(), Vec::new());
    for place in places {
        let files = if place.is_dir() { entries(&place) } else { vec![place.clone()] };
        for file in files.into_iter().filter(|file| file.extension().is_some_and(|ending| ending == "json")) {
            match library_of(&file) {
                Some(library) => drivers.push(Driver { file, library }),
                None if is_named => unreadable.push(file),
                None => {}
            }
        }
    }
    (drivers, unreadable)
}

fn usual_folders(variable: &dyn Fn(&str) -> Option<String>) -> Vec<PathBuf> {
    let home = |below: &str| variable("HOME").map(|home| format!("{home}/{below}"));
    let or = |name: &str, usual: Option<String>| variable(name).or(usual).unwrap_or_default();
    let lists = [
        or("XDG_CONFIG_HOME", home(".config")),
        or("XDG_CONFIG_DIRS", Some("/etc/xdg".to_owned())),
        "/etc".to_owned(),
        or("XDG_DATA_HOME", home(".local/share")),
        or("XDG_DATA_DIRS", Some("/usr/local/share:/usr/share".to_owned())),
    ];
    let folders = lists.iter().flat_map(|list| list.split(':')).filter(|folder| !folder.is_empty());
    // A folder that is not there is no driver that cannot be read.
    folders.map(|folder| Path::new(folder).join("vulkan/icd.d")).filter(|folder| folder.is_dir()).collect()
}

/// The library that a driver file names: a name for the dynamic linker, or a path, which may be relative to the file.
fn library_of(file: &Path) -> Option<String> {
    let driver: serde_json::Value = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    let library = driver.get("ICD")?.get("library_path")?.as_str()?;
    let is_relative = library.contains('/') && !library.starts_with('/');
    let beside = file.parent().unwrap_or(Path::new("/")).join(library);
    Some(if is_relative { beside.to_string_lossy().into_owned() } else { library.to_owned() })
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path()).collect();
    found.sort();
    found
}

/// Opens a library and leaves it open: a driver may have started threads.
#[cfg(target_os = "linux")]
fn open(library: &str) -> Result<(), String> {
    use std::ffi::{CStr, CString};

    let name = CString::new(library).map_err(|_| format!("{library:?} is no name of a library"))?;
    // SAFETY: the name ends with a zero. What the library does when it is opened, it does for the loader of Vulkan as well.
    let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_LAZY | libc::RTLD_LOCAL) };
    if !handle.is_null() {
        return Ok(());
    }
    // SAFETY: what it gives is null, or a text that stays until this thread's next call.
    let said = unsafe {
        let said = libc::dlerror();
        if said.is_null() { None } else { Some(CStr::from_ptr(said).to_string_lossy().into_owned()) }
    };
    Err(said.unwrap_or_else(|| format!("{library} cannot be opened")))
}

#[cfg(not(target_os = "linux"))]
fn open(_: &str) -> Result<(), String> {
    Ok(())
}

#[cfg(test)]
mod tests;
