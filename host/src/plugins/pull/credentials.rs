//! The credentials for a registry, as `docker login` or `podman login` has stored them.

use docker_credential::{CredentialRetrievalError as NotFound, DockerCredential};
use oci_client::Reference;
use oci_client::secrets::RegistryAuth;

/// Docker stores the credentials of its own registry under this name.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// The credentials for a registry; anonymous if there is no login.
///
/// # Errors
/// If there is a login that cannot be used.
pub(crate) fn find(reference: &Reference) -> anyhow::Result<RegistryAuth> {
    let server = match reference.registry() {
        "docker.io" => DOCKER_HUB,
        other => other,
    };
    for look in [docker_credential::get_credential, docker_credential::get_podman_credential] {
        match look(server) {
            Ok(DockerCredential::UsernamePassword(name, password)) => {
                return Ok(RegistryAuth::Basic(name, password));
            }
            Ok(DockerCredential::IdentityToken(_)) => anyhow::bail!(
                "the login for {server} is an identity token, which is not supported; log in with \
                 a name and an access token"
            ),
            Err(
                NotFound::ConfigNotFound
                | NotFound::ConfigReadError
                | NotFound::NoCredentialConfigured,
            ) => {}
            // Each helper has its own message for an unknown server.
            Err(NotFound::HelperFailure { stdout, .. }) if stdout.contains("not found") => {}
            Err(error) => anyhow::bail!("the login for {server} cannot be used: {error}"),
        }
    }
    Ok(RegistryAuth::Anonymous)
}
