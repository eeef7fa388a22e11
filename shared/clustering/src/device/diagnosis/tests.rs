use super::*;

const DRIVER: &str = "libGLX_nvidia.so.0";

/// A dynamic linker that lacks some libraries, and what it says of a library that needs one of them.
fn lacking_some<'a>(absent: &'a [&'a str]) -> impl Fn(&str) -> Result<(), String> + 'a {
    move |library| {
        let needed = if library == DRIVER { "libX11.so.6" } else { library };
        let is_absent = absent.contains(&library) || absent.contains(&needed);
        let missing = if absent.contains(&library) { library } else { needed };
        match is_absent {
            true => Err(format!("{missing}: cannot open shared object file: No such file or directory")),
            false => Ok(()),
        }
    }
}

fn why(vendors: &[Vendor], drivers: &[&str], absent: &[&str]) -> String {
    let driver = |name: &&str| Driver {
        file: PathBuf::from(format!("/usr/share/vulkan/icd.d/{name}_icd.json")),
        library: if *name == "nvidia" { DRIVER.to_owned() } else { format!("libvulkan_{name}.so") },
    };
    let machine = Machine {
        vendors: vendors.to_vec(),
        drivers: drivers.iter().map(driver).collect(),
        unreadable: Vec::new(),
        is_elsewhere: false,
        open: &lacking_some(absent),
    };
    machine.why_no_gpu()
}

/// On the way to a GPU, each step that fails is told with what to do about it.
#[test]
fn the_first_thing_that_is_missing_is_told() {
    let nvidia = &[Vendor::Nvidia];
    assert!(why(&[], &["lvp"], &[]).starts_with("the kernel shows none"));
    assert_eq!(
        why(nvidia, &["nvidia"], &["libvulkan.so.1"]),
        "an NVIDIA GPU is there, but Vulkan's loader is not: libvulkan.so.1 is missing; on Debian, `apt-get install libvulkan1`"
    );
    let no_file = why(nvidia, &["lvp", "intel"], &[]);
    assert!(no_file.contains("no driver file for it") && no_file.contains("nvidia-vulkan-icd"), "{no_file}");
    let no_mesa = why(&[Vendor::Amd], &["lvp"], &[]);
    assert!(no_mesa.ends_with("on Debian, `apt-get install mesa-vulkan-drivers`"), "{no_mesa}");
    assert_eq!(
        why(nvidia, &["nvidia"], &["libX11.so.6", "libXext.so.6"]),
        "an NVIDIA GPU is there, but its driver libGLX_nvidia.so.0 (/usr/share/vulkan/icd.d/nvidia_icd.json) cannot be opened: \
         libX11.so.6, libXext.so.6 are missing; on Debian, `apt-get install libx11-6 libxext6`"
    );
    let later = why(nvidia, &["nvidia"], &["libEGL.so.1"]);
    assert!(later.contains("shows no device: libEGL.so.1 is missing; on Debian, `apt-get install libegl1`"), "{later}");
    let nothing = why(nvidia, &["nvidia"], &[]);
    assert!(nothing.contains("vulkaninfo --summary"), "{nothing}");
}

#[test]
fn a_driver_whose_own_library_is_missing_is_told() {
    let said = why(&[Vendor::Intel], &["intel"], &["libvulkan_intel.so"]);
    assert!(said.contains("libvulkan_intel.so is missing; install the packages of the driver"), "{said}");
    assert!(!said.contains("libX11"), "only NVIDIA's driver opens these: {said}");
}

#[test]
fn a_driver_file_that_containers_have_elsewhere_is_named() {
    let machine = Machine {
        vendors: vec![Vendor::Nvidia],
        drivers: Vec::new(),
        unreadable: Vec::new(),
        is_elsewhere: true,
        open: &|_| Ok(()),
    };
    assert!(machine.why_no_gpu().ends_with("set VK_DRIVER_FILES=/usr/local/nvidia/share/vulkan/icd.d/nvidia_icd.json"));
}

#[test]
fn what_is_no_missing_library_is_told_as_it_is() {
    let problem = "/usr/lib/libvulkan_radeon.so: undefined symbol: drmGetDevice2";
    assert_eq!(lacking(problem, &[]), problem);
    assert_eq!(missing_library(problem), None);
    let nested = "error while loading: libdrm.so.2: cannot open shared object file: No such file or directory";
    assert_eq!(missing_library(nested), Some("libdrm.so.2"));
}

#[test]
fn the_dynamic_linker_names_the_library_that_is_missing() {
    let said = open("libof-no-package.so.7").unwrap_err();
    assert_eq!(missing_library(&said), Some("libof-no-package.so.7"), "{said}");
}

#[test]
fn gpus_are_told_by_the_files_of_the_kernel() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    assert_eq!(vendors(root), []);
    for (node, id) in [("renderD128", "0x8086\n"), ("renderD129", "0x10de\n"), ("renderD130", "0x8086\n")] {
        fs::create_dir_all(root.join("dev/dri")).unwrap();
        fs::write(root.join("dev/dri").join(node), "").unwrap();
        let device = root.join("sys/class/drm").join(node).join("device");
        fs::create_dir_all(&device).unwrap();
        fs::write(device.join("vendor"), id).unwrap();
    }
    fs::write(root.join("dev/dri/card0"), "").unwrap();
    assert_eq!(vendors(root), [Vendor::Intel, Vendor::Nvidia]);
    fs::write(root.join("dev/nvidiactl"), "").unwrap();
    assert_eq!(vendors(root), [Vendor::Nvidia, Vendor::Intel]);
}

#[test]
fn drivers_are_found_where_the_loader_finds_them() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("share/vulkan/icd.d");
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("a_icd.json"), r#"{"ICD": {"library_path": "liba.so"}}"#).unwrap();
    fs::write(data.join("b_icd.json"), r#"{"ICD": {"library_path": "../lib/libb.so"}}"#).unwrap();
    fs::write(data.join("c_icd.json"), "{}").unwrap();
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    let found = |variables: &[(&str, String)]| {
        let variable = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
        let (drivers, unreadable) = drivers(&variable);
        (drivers.into_iter().map(|driver| driver.library).collect::<Vec<_>>(), unreadable)
    };
    let elsewhere = text(folder.path().join("none"));
    let usual = |data: &Path| {
        let none = ["XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "XDG_DATA_HOME"].map(|name| (name, elsewhere.clone()));
        found(&[none.to_vec(), vec![("XDG_DATA_DIRS", text(data.join("share")))]].concat())
    };
    let (libraries, unreadable) = usual(folder.path());
    assert!(libraries.contains(&"liba.so".to_owned()) && libraries.contains(&text(data.join("../lib/libb.so"))));
    assert!(unreadable.is_empty(), "what nobody named is no mistake");
    let named = [data.join("a_icd.json"), data.join("missing.json")].map(text).join(":");
    let (libraries, unreadable) = found(&[("VK_DRIVER_FILES", named)]);
    assert_eq!((libraries, unreadable), (vec!["liba.so".to_owned()], vec![data.join("missing.json")]));
}
