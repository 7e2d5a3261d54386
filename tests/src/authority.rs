//! A certificate authority of a test's own: what a service shows whose callers trust it, or do not.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// An authority, with its key.
pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// One of that name, which nobody trusts yet.
    pub fn new(name: &str) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new()).context("cannot describe an authority")?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().context("cannot make a key")?;
        let certificate = params.self_signed(&key).context("cannot sign an authority")?;
        Ok(Self { pem: certificate.pem(), issuer: Issuer::new(params, key) })
    }

    /// Writes its certificate, for those who shall trust it.
    pub fn write(&self, path: &Path) -> Result<()> {
        fs::write(path, &self.pem).with_context(|| format!("cannot write {}", path.display()))
    }

    /// What a service of that name, or address, shows.
    pub fn server(&self, name: &str) -> Result<Arc<ServerConfig>> {
        let key = KeyPair::generate().context("cannot make a key")?;
        let params = CertificateParams::new(vec![name.to_owned()]).with_context(|| format!("{name} is no name"))?;
        let certificate = params.signed_by(&key, &self.issuer).context("cannot sign a certificate")?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("cannot set up TLS")?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .context("the certificate is none")?;
        Ok(Arc::new(config))
    }
}
