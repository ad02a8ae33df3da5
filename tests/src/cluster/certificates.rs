//! The certificate authority of a run, and a kubeconfig for each client of its API server.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use serde_json::json;

use super::sandbox::Addresses;

/// Signs all certificates of one run.
pub(crate) struct Authority {
    dir: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    server: String,
}

impl Authority {
    /// Creates an authority and the files `ca.crt`, `apiserver.{crt,key}`,
    /// `kubelet-client.{crt,key}` and `accounts.{key,pub}` in `dir`.
    pub(crate) fn create(dir: &Path, at: Addresses) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "mcphub test cluster");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        let authority = Self {
            dir: dir.to_owned(),
            issuer: Issuer::new(params, key),
            pem,
            server: format!("https://{}:6443", at.node()),
        };
        write(&dir.join("ca.crt"), &authority.pem)?;
        authority.api_server(at)?;
        let (certificate, key) =
            authority.client("kube-apiserver-kubelet-client", Some("system:masters"))?;
        write(&dir.join("kubelet-client.crt"), &certificate)?;
        write(&dir.join("kubelet-client.key"), &key)?;
        let accounts = KeyPair::generate()?;
        write(&dir.join("accounts.key"), &accounts.serialize_pem())?;
        write(&dir.join("accounts.pub"), &accounts.public_key_pem())?;
        Ok(authority)
    }

    /// The path of a file of the authority.
    pub(crate) fn file(&self, name: &str) -> String {
        self.dir.join(name).to_string_lossy().into_owned()
    }

    fn api_server(&self, at: Addresses) -> Result<()> {
        let names = [
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
            "localhost",
        ];
        let mut params = CertificateParams::new(names.map(String::from))?;
        for address in [at.node(), at.first_service(), Ipv4Addr::LOCALHOST] {
            params.subject_alt_names.push(SanType::IpAddress(address.into()));
        }
        params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        write(&self.dir.join("apiserver.crt"), &params.signed_by(&key, &self.issuer)?.pem())?;
        write(&self.dir.join("apiserver.key"), &key.serialize_pem())
    }

    fn client(&self, user: &str, group: Option<&str>) -> Result<(String, String)> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, user);
        if let Some(group) = group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        Ok((params.signed_by(&key, &self.issuer)?.pem(), key.serialize_pem()))
    }

    /// Writes a kubeconfig for a user of the API server and returns its path.
    pub(crate) fn kubeconfig(
        &self,
        path: &Path,
        user: &str,
        group: Option<&str>,
    ) -> Result<String> {
        let (certificate, key) = self.client(user, group)?;
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "mcphub",
            "clusters": [{"name": "mcphub", "cluster": {
                "server": self.server,
                "certificate-authority-data": BASE64_STANDARD.encode(&self.pem)}}],
            "users": [{"name": user, "user": {
                "client-certificate-data": BASE64_STANDARD.encode(certificate),
                "client-key-data": BASE64_STANDARD.encode(key)}}],
            "contexts": [{"name": "mcphub", "context": {"cluster": "mcphub", "user": user}}],
        });
        write(path, &serde_json::to_string_pretty(&config)?)?;
        Ok(path.to_string_lossy().into_owned())
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)?;
    // helm warns about a kubeconfig that others may read.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(())
}
