//! The packages and files of the workspace.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::source::{Crate, File};

pub(crate) struct Package {
    pub name: String,
    /// The folder below the root: `hub/catalog`.
    pub folder: PathBuf,
    pub library: Option<Crate>,
    pub programs: Vec<Crate>,
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests is below the root")
}

/// A path as messages show it: relative to the root.
pub(crate) fn shown(path: &Path) -> std::path::Display<'_> {
    path.strip_prefix(root()).unwrap_or(path).display()
}

/// Runs cargo and returns what it prints.
pub(crate) fn cargo(root: &Path, arguments: &[&str]) -> String {
    let output =
        Command::new(env!("CARGO")).args(arguments).current_dir(root).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo prints UTF-8")
}

/// Reads the packages of a workspace with the sources of their libraries and programs.
pub(crate) fn packages(root: &Path) -> Vec<Package> {
    let printed = cargo(root, &["metadata", "--no-deps", "--offline", "--format-version", "1"]);
    let metadata: serde_json::Value = serde_json::from_str(&printed).expect("cargo prints JSON");
    let packages = metadata["packages"].as_array().expect("a list");
    packages.iter().map(|package| read_package(root, package)).collect()
}

fn read_package(root: &Path, package: &serde_json::Value) -> Package {
    let text = |value: &serde_json::Value| value.as_str().expect("a string").to_owned();
    let manifest = PathBuf::from(text(&package["manifest_path"]));
    let folder = manifest.parent().expect("a file is in a folder");
    let targets = package["targets"].as_array().expect("a list");
    let of_kind = |kind: &str| -> Vec<Crate> {
        let matching = targets.iter().filter(|target| target["kind"][0] == kind);
        matching.map(|target| Crate::read(Path::new(&text(&target["src_path"])))).collect()
    };
    Package {
        name: text(&package["name"]),
        folder: folder.strip_prefix(root).expect("packages are below the root").to_owned(),
        library: of_kind("lib").pop(),
        programs: of_kind("bin"),
    }
}

impl Package {
    /// The files of the library and the programs, without tests.
    pub(crate) fn files(&self) -> impl Iterator<Item = &File> {
        self.library.iter().chain(&self.programs).flat_map(|it| &it.files)
    }
}

/// The files below a folder with this extension, and all folders, without what is built or hidden.
pub(crate) fn walk(folder: &Path, visit: &mut impl FnMut(&Path)) {
    let entries = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("failed to list {}: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("an entry of a folder can be read").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') || name == "target" {
            continue;
        }
        visit(&path);
        if path.is_dir() && !path.is_symlink() {
            walk(&path, visit);
        }
    }
}

/// The files of the repository with this extension.
pub(crate) fn files(root: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(root, &mut |path| {
        if path.is_file() && path.extension().is_some_and(|it| it == extension) {
            found.push(path.to_owned());
        }
    });
    found.sort();
    found
}
