//! Who we are to a registry: what `docker login` or `podman login` has written.

use docker_credential::{CredentialRetrievalError as NotFound, DockerCredential};
use oci_client::Reference;
use oci_client::secrets::RegistryAuth;

/// Docker knows its own registry by this.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// Nobody in particular, if nobody has logged in.
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
            // Helpers say in their own words that they know no such server.
            Err(NotFound::HelperFailure { stdout, .. }) if stdout.contains("not found") => {}
            Err(error) => anyhow::bail!("the login for {server} cannot be used: {error}"),
        }
    }
    Ok(RegistryAuth::Anonymous)
}
