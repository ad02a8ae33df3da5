//! Container images. They are built without a daemon and without a registry, and stay in the cache
//! as archives.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};
use tokio::process::Command;
use tokio::sync::OnceCell;

use super::sandbox::Sandbox;
use super::tools::{cache_dir, root_dir, source_dir};
use super::{command, node};
use crate::progress;

/// An image that the harness builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Image {
    /// The hub of this checkout, compiled with the profile `test-images`.
    Hub,
    /// The operator of this checkout, compiled with the profile `test-images`.
    Operator,
    /// Node.js and the MCP servers `mcp-server-everything`, `mcp-server-filesystem FOLDER` and
    /// `mcp-server-memory` on `PATH`.
    ServersNode,
    /// Python, git and the MCP servers `mcp-server-time` and `mcp-server-git` on `PATH`.
    ServersPython,
    /// The cluster's DNS.
    CoreDns,
    /// The program that holds the namespaces of a pod.
    Pause,
}

impl Image {
    fn repository(self) -> &'static str {
        match self {
            Self::Hub => "hub",
            Self::Operator => "operator",
            Self::ServersNode => "servers-node",
            Self::ServersPython => "servers-python",
            Self::CoreDns => "coredns",
            Self::Pause => "pause",
        }
    }
}

impl Image {
    /// The MCP servers on the `PATH` of the image.
    pub fn programs(self) -> &'static [&'static str] {
        match self {
            Self::ServersNode => {
                &["mcp-server-everything", "mcp-server-filesystem", "mcp-server-memory"]
            }
            Self::ServersPython => &["mcp-server-git", "mcp-server-time"],
            Self::Hub | Self::Operator | Self::CoreDns | Self::Pause => &[],
        }
    }
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.repository())
    }
}

/// An image in the cache.
#[derive(Debug, Clone)]
pub(crate) struct Built {
    pub(crate) name: String,
    pub(crate) archive: PathBuf,
}

/// What this process has built or found already. Without it, the name in a manifest and the image
/// in the cluster would differ when a source file is saved in between.
static BUILT: LazyLock<Mutex<BTreeMap<Image, Built>>> = LazyLock::new(Mutex::default);

/// The name of an image that was built or found in this process.
pub(crate) fn loaded_name(image: Image) -> Result<String> {
    let built = BUILT.lock().unwrap_or_else(PoisonError::into_inner).get(&image).cloned();
    built
        .map(|built| built.name)
        .with_context(|| format!("the image {image} is not loaded; add it to Options::images"))
}

/// Builds what is missing of these images, all at the same time: some download while others
/// compile.
pub(crate) async fn build_all(images: &[Image]) -> Result<Vec<Built>> {
    futures::future::try_join_all(images.iter().map(|image| build(*image))).await
}

/// Finds an image in the cache or builds it. The tag is the hash of what is in the image.
pub(crate) async fn build(image: Image) -> Result<Built> {
    if let Some(built) = BUILT.lock().unwrap_or_else(PoisonError::into_inner).get(&image) {
        return Ok(built.clone());
    }
    let recipe = Recipe::for_image(image).await?;
    let built = recipe.build(image).await?;
    BUILT.lock().unwrap_or_else(PoisonError::into_inner).insert(image, built.clone());
    Ok(built)
}

/// Imports an image into the run's containerd.
pub(crate) async fn import(sandbox: &Sandbox, built: &Built) -> Result<()> {
    let mut ctr = Command::from(sandbox.enter("ctr"));
    ctr.args([
        "--address",
        &node::socket(sandbox),
        "--namespace",
        "k8s.io",
        "images",
        "import",
        "--no-unpack",
    ]);
    ctr.arg(&built.archive);
    let what = format!("loading {} into containerd", built.name);
    command::with_progress(&mut ctr, &what, command::unknown).await.map(drop)
}

/// How an image is built: with a Dockerfile, and a folder that takes the place of its stage
/// `build`.
struct Recipe {
    dockerfile: PathBuf,
    target: Option<&'static str>,
    inputs: Vec<PathBuf>,
    fill: Fill,
}

/// How the folder is filled that takes the place of the stage `build`.
enum Fill {
    /// With these files, under their own names.
    Files(Vec<PathBuf>),
    /// By this program, which is called with the folder.
    Program(PathBuf),
}

impl Recipe {
    async fn for_image(image: Image) -> Result<Self> {
        let folder = source_dir().join("images").join(image.repository());
        let product = |target: &'static str, program: PathBuf| Self {
            dockerfile: root_dir().join("Dockerfile"),
            target: Some(target),
            inputs: vec![program.clone()],
            fill: Fill::Files(vec![program, PathBuf::from(TRUSTED)]),
        };
        Ok(match image {
            Image::Hub => product("hub", compile_programs().await?.join("mcp-hub")),
            Image::Operator => {
                product("operator", compile_programs().await?.join("mcphub-operator"))
            }
            Image::CoreDns => {
                let program = super::tools::Tools::ready().await?.coredns();
                Self {
                    dockerfile: folder.join("Dockerfile"),
                    target: None,
                    inputs: vec![program.clone()],
                    fill: Fill::Files(vec![program]),
                }
            }
            Image::ServersNode | Image::ServersPython | Image::Pause => Self {
                dockerfile: folder.join("Dockerfile"),
                target: None,
                inputs: files_in(&folder)?,
                fill: Fill::Program(folder.join("fill")),
            },
        })
    }

    async fn build(self, image: Image) -> Result<Built> {
        let key = self.key()?;
        let name = match image {
            Image::Pause => node::PAUSE.to_owned(),
            other => format!("mcphub.test/{other}:{key}"),
        };
        let folder = cache_dir().join("images");
        fs::create_dir_all(&folder)?;
        let archive = folder.join(format!("{image}-{key}.tar"));
        if !archive.exists() {
            progress::print(&format!("building the image {image} ..."));
            let started = Instant::now();
            let scratch = tempfile::tempdir_in(&folder)?;
            let whole = scratch.path().join("image.tar");
            self.build_archive(scratch.path(), &whole, &name)
                .await
                .with_context(|| format!("failed to build the image {image}"))?;
            fs::rename(&whole, &archive)?;
            remove_older(&folder, image)?;
            let size = fs::metadata(&archive)?.len() / 1_000_000;
            progress::print(&format!(
                "building the image {image}: done in {} s, {size} MB",
                started.elapsed().as_secs()
            ));
        }
        Ok(Built { name, archive })
    }

    /// The hash of everything that goes into the image.
    fn key(&self) -> Result<String> {
        let mut hash = Sha256::new();
        for path in std::iter::once(&self.dockerfile).chain(&self.inputs) {
            hash.update(path.file_name().unwrap_or_default().as_encoded_bytes());
            let mut file = fs::File::open(path).with_context(|| path.display().to_string())?;
            let mut buffer = vec![0; 1 << 20];
            loop {
                let count = file.read(&mut buffer)?;
                if count == 0 {
                    break;
                }
                hash.update(&buffer[..count]);
            }
        }
        Ok(short_hex(&hash.finalize()))
    }

    async fn build_archive(&self, scratch: &Path, archive: &Path, name: &str) -> Result<()> {
        let (build, empty) = (scratch.join("build"), scratch.join("empty"));
        fs::create_dir(&build)?;
        fs::create_dir(&empty)?;
        match &self.fill {
            Fill::Files(files) => {
                for file in files {
                    let to = build.join(file.file_name().context("a file has a name")?);
                    fs::copy(file, &to).with_context(|| file.display().to_string())?;
                }
            }
            Fill::Program(program) => {
                let what = format!("building the image {name}");
                command::with_progress(Command::new(program).arg(&build), &what, step_of_fill)
                    .await?;
            }
        }
        let mut command = buildah(scratch, "build")?;
        command.args(["--isolation", "chroot", "--tag", name, "--build-context"]);
        command.arg(format!("build={}", build.display())).arg("--file").arg(&self.dockerfile);
        if let Some(target) = self.target {
            command.args(["--target", target]);
        }
        let what = format!("packing the image {name}");
        command::with_progress(command.arg(&empty), &what, command::unknown).await?;
        let to = format!("docker-archive:{}:{name}", archive.display());
        let mut push = buildah(scratch, "push")?;
        let what = format!("archiving the image {name}");
        command::with_progress(push.arg(name).arg(to), &what, command::unknown).await.map(drop)
    }
}

/// Pushes an image to a registry, under another name.
pub(crate) async fn push(built: &Built, name: &str, tls: bool) -> Result<()> {
    let scratch = tempfile::tempdir_in(cache_dir().join("images"))?;
    let from = format!("docker-archive:{}", built.archive.display());
    let mut pull = buildah(scratch.path(), "pull")?;
    let what = format!("unpacking {}", built.name);
    let id = command::with_progress(pull.arg("--quiet").arg(from), &what, command::unknown).await?;
    let mut push = buildah(scratch.path(), "push")?;
    push.arg(format!("--tls-verify={tls}")).arg(id.trim()).arg(format!("docker://{name}"));
    command::with_progress(&mut push, &format!("pushing {name}"), command::unknown).await.map(drop)
}

/// What the `fill` scripts print for each of their steps: `2 of 4: installing the servers`.
fn step_of_fill(line: &str) -> Option<String> {
    line.strip_prefix("fill: ").map(str::to_owned)
}

/// buildah with a store of its own, which is removed with the scratch folder.
fn buildah(scratch: &Path, verb: &str) -> Result<Command> {
    let policy = scratch.join("policy.json");
    fs::write(&policy, r#"{"default":[{"type":"insecureAcceptAnything"}]}"#)?;
    let mut buildah = Command::new("buildah");
    buildah.args(["--storage-driver", "vfs", "--root"]).arg(scratch.join("root"));
    buildah
        .arg("--runroot")
        .arg(scratch.join("runroot"))
        .arg(verb)
        .arg("--signature-policy")
        .arg(&policy);
    Ok(buildah)
}

/// The certificate authorities of this machine. An image FROM scratch has no others.
const TRUSTED: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The folder with hub and operator as static programs. They are compiled together, once per
/// process.
async fn compile_programs() -> Result<PathBuf> {
    static FOLDER: OnceCell<PathBuf> = OnceCell::const_new();
    FOLDER.get_or_try_init(run_cargo).await.cloned()
}

async fn run_cargo() -> Result<PathBuf> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let folder = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root_dir().join("target"), PathBuf::from);
    let started = Instant::now();
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--profile", PROFILE, "--locked", "--target", &target]);
    cargo.args(["-p", "mcphub-hub", "-p", "mcphub-operator"]);
    // The target is named so that the flag does not reach procedural macros, which cannot be
    // static.
    cargo.env("RUSTFLAGS", "-C target-feature=+crt-static").env_remove("CARGO_ENCODED_RUSTFLAGS");
    cargo.env("CARGO_TARGET_DIR", &folder).current_dir(root_dir());
    // The bar is the only place where cargo says how many crates there are.
    cargo.env("CARGO_TERM_PROGRESS_WHEN", "always").env("CARGO_TERM_PROGRESS_WIDTH", "80");
    // `cargo test` sets variables about this crate. Build scripts would see them and run again.
    let of_this_crate =
        |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars().filter(|(name, _)| of_this_crate(name)) {
        cargo.env_remove(name);
    }
    let what = "compiling hub and operator for the images";
    command::with_progress(&mut cargo, what, crates_compiled).await?;
    if started.elapsed().as_secs() > 2 {
        progress::print(&format!("{what}: done in {} s", started.elapsed().as_secs()));
    }
    Ok(folder.join(target).join(PROFILE))
}

/// A cargo profile that compiles faster than `release`; the product's own images are built with
/// that.
const PROFILE: &str = "test-images";

/// What cargo's progress bar says: `Building [====>     ] 213/430: kube-client, k8s-openapi`.
fn crates_compiled(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("] ")?;
    let (count, total) = rest.split_once(':')?.0.split_once('/')?;
    let (count, total) = (count.trim().parse::<u32>().ok()?, total.trim().parse::<u32>().ok()?);
    Some(format!("{count} of {total} crates"))
}

fn files_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut files: Vec<_> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    Ok(files)
}

/// Keeps the last few archives of an image: hub and operator change with every build.
fn remove_older(folder: &Path, image: Image) -> Result<()> {
    let mut archives: Vec<_> = fs::read_dir(folder)?
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&format!("{image}-")))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    archives.sort();
    for (_, path) in archives.iter().rev().skip(4) {
        fs::remove_file(path)?;
    }
    Ok(())
}

/// Twelve hex digits of a hash: enough for a name in the cache.
pub(crate) fn short_hex(hash: &[u8]) -> String {
    let digits: Vec<_> = hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    digits.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_bar_of_cargo_and_steps_of_a_fill_script_say_how_far_they_are() {
        let bar =
            "    Building [=======>                   ] 213/430: kube-client, mcphub-hub(bin)   ";
        assert_eq!(crates_compiled(bar).as_deref(), Some("213 of 430 crates"));
        assert_eq!(crates_compiled("   Compiling serde v1.0.228 ([email] 1/2)"), None);
        assert_eq!(step_of_fill("fill: 2 of 4: npm").as_deref(), Some("2 of 4: npm"));
        assert_eq!(step_of_fill("npm warn"), None);
    }
}
