//! The configurations of both sides of TLS.

use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::sync::Arc;

/// The name in the server's certificate.
pub(crate) fn name() -> ServerName<'static> {
    ServerName::try_from("readily.example").unwrap()
}

/// A client and a server. The client trusts the server's certificate, which is for [`name`].
///
/// The key is of Ed25519, whose signatures have one length: so the handshake of each run has the same one.
pub(crate) fn configs() -> (Arc<ClientConfig>, Arc<ServerConfig>) {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let params = rcgen::CertificateParams::new(["readily.example".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().der().clone();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let client = ClientConfig::builder().with_root_certificates(roots);
    let server = ServerConfig::builder().with_no_client_auth();
    let server = server.with_single_cert(vec![certificate], key.into());
    (client.with_no_client_auth().into(), server.unwrap().into())
}
