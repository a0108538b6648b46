//! One order, from the account to the certificate (RFC 8555 §7).

use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeType, Error, ExternalAccountKey, Identifier,
    NewAccount, NewOrder, Order, OrderStatus, RetryPolicy,
};

use super::client::Client;
use super::share::Share;
use super::storage::Storage;
use crate::acme::{Challenges, Published, Window};
use crate::config::model::{self, AcmeChallenge};
use crate::tls::{self, AuthorityAnswer};

/// What an authority may take to look at challenges, and again to sign.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is needed to order.
pub(super) struct Ordering<'a> {
    pub(super) model: &'a model::Acme,
    pub(super) client: &'a Client,
    pub(super) storage: &'a Storage,
    pub(super) share: Option<&'a Share>,
    pub(super) challenges: &'a Challenges,
}

impl Ordering<'_> {
    /// Obtains a certificate; `replaced`: the one that is there. The result is key and chain, PEM.
    ///
    /// # Errors
    /// What went wrong, in words for a log.
    pub(super) async fn obtain(
        &self,
        challenge: AcmeChallenge,
        replaced: Option<&AuthorityAnswer>,
    ) -> Result<String, String> {
        let account = self.account().await?;
        let identifiers: Vec<Identifier> = (self.model.domains.iter())
            .map(|name| Identifier::Dns(name.to_string()))
            .collect();
        let ordered = match replaced.and_then(identifier) {
            // It tells the authority which one will not be used any more, where the authority wants to know (RFC 9773 §5).
            Some(replaced) => match account.new_order(&NewOrder::new(&identifiers).replaces(replaced)).await {
                Err(_) => account.new_order(&NewOrder::new(&identifiers)).await,
                order => order,
            },
            None => account.new_order(&NewOrder::new(&identifiers)).await,
        };
        let mut order = match ordered {
            Err(Error::Api(problem)) if is(&problem, "accountDoesNotExist") || is(&problem, "unauthorized") => {
                self.storage.forget_account();
                return Err(format!("the authority does not know the account any more: {problem}"));
            }
            ordered => ordered.map_err(words)?,
        };
        let mut published = self.challenges.order();
        self.answer(&mut order, challenge, &mut published).await?;
        let patience = RetryPolicy::new().timeout(PATIENCE);
        let status = order.poll_ready(&patience).await;
        if !matches!(status, Ok(OrderStatus::Ready)) {
            return Err(match found_wrong(&mut order).await {
                Some(why) => format!("{}: {why}", challenge.word()),
                None => status.map_or_else(words, |status| format!("the order is {status:?}")),
            });
        }
        drop(published);
        let tls::Requested { csr, key } = tls::request(&self.model.domains)?;
        order.finalize_csr(&csr).await.map_err(words)?;
        let chain = order.poll_certificate(&patience).await.map_err(words)?;
        let pem = format!("{key}{chain}");
        match AuthorityAnswer::read(pem.as_bytes()) {
            Ok(issued) if issued.covers(&self.model.domains) => Ok(pem),
            Ok(_) => Err("the authority has issued a certificate for other names".to_owned()),
            Err(error) => Err(format!(
                "the authority has issued something else than a certificate: {error}"
            )),
        }
    }

    /// When the authority would like the certificate to be renewed, and when it wants to be asked again; `None`: it does
    /// not say.
    pub(super) async fn window(&self, certificate: &AuthorityAnswer) -> Option<(Window, Duration)> {
        let identifier = identifier(certificate)?;
        let account = self.known_account().await?.ok()?;
        let (info, again) = account.renewal_info(&identifier).await.ok()?;
        let window = Window {
            start: info.suggested_window.start.unix_timestamp(),
            end: info.suggested_window.end.unix_timestamp(),
        };
        Some((window, again))
    }

    /// The account that is kept, or a new one.
    async fn account(&self) -> Result<Account, String> {
        if self.storage.account().is_none()
            && let Some(share) = self.share
            && let Some(json) = share.account().await?
        {
            self.storage.keep_account(&json)?;
        }
        if let Some(account) = self.known_account().await {
            return account;
        }
        let contact = self.model.email.as_ref().map(|email| format!("mailto:{email}"));
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        let new = NewAccount {
            contact: &contact,
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let external = self.model.external_account.as_ref();
        let external = external.map(|(id, key)| ExternalAccountKey::new(id.to_string(), &key.0));
        let (account, credentials) = Account::builder_with_http(Box::new(self.client.clone()))
            .create(&new, self.model.directory.to_string(), external.as_ref())
            .await
            .map_err(words)?;
        let json = serde_json::to_vec(&credentials).map_err(|error| error.to_string())?;
        self.storage.keep_account(&json)?;
        if let Some(share) = self.share {
            share.keep_account(&json).await?;
        }
        tracing::info!(authority = %self.model.directory, account = account.id(), "an account was made");
        Ok(account)
    }

    /// The account that is kept; `None`: there is none.
    async fn known_account(&self) -> Option<Result<Account, String>> {
        let credentials = self.storage.account()?;
        let builder = Account::builder_with_http(Box::new(self.client.clone()));
        Some(builder.from_credentials(credentials).await.map_err(words))
    }

    /// Puts the answers to all challenges in place, then says so: an authority may look at once.
    async fn answer(
        &self,
        order: &mut Order,
        challenge: AcmeChallenge,
        published: &mut Published,
    ) -> Result<(), String> {
        let kind = || match challenge {
            AcmeChallenge::Http01 => ChallengeType::Http01,
            AcmeChallenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
        };
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(words)?;
            match authorization.status {
                AuthorizationStatus::Pending => {}
                AuthorizationStatus::Valid => continue, // it remembers
                status => return Err(format!("an authorization is {status:?}")),
            }
            let name = authorization.identifier().to_string();
            let Some(mut handle) = authorization.challenge(kind()) else {
                return Err(format!("the authority does not offer {} for {name}", challenge.word()));
            };
            let answer = handle.key_authorization();
            let what = match challenge {
                AcmeChallenge::Http01 => handle.token.clone(),
                AcmeChallenge::TlsAlpn01 => name,
            };
            published.publish(challenge, &what, answer.as_str());
            if let Some(share) = self.share {
                share.publish(challenge, &what, answer.as_str()).await?;
            }
            handle.set_ready().await.map_err(words)?;
        }
        Ok(())
    }
}

/// What the authority found wrong with the names.
async fn found_wrong(order: &mut Order) -> Option<String> {
    let mut wrong = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let name = authorization.identifier().to_string();
        let Ok(state) = authorization.refresh().await else {
            break;
        };
        for problem in state.challenges.iter().filter_map(|challenge| challenge.error.as_ref()) {
            wrong.push(format!("{name}: {}", problem.detail.as_deref().unwrap_or("no detail")));
        }
    }
    (!wrong.is_empty()).then(|| wrong.join("; "))
}

fn identifier(certificate: &AuthorityAnswer) -> Option<CertificateIdentifier<'static>> {
    let (authority, serial) = certificate.identifier.as_ref()?;
    Some(CertificateIdentifier::new(authority.as_slice().into(), serial.as_slice().into()).into_owned())
}

fn is(problem: &instant_acme::Problem, kind: &str) -> bool {
    (problem.r#type.as_deref()).is_some_and(|known| known.strip_prefix("urn:ietf:params:acme:error:") == Some(kind))
}

fn words(error: Error) -> String {
    error.to_string()
}
