//! Which endpoints of Subscriptions may be called: the guard of the way out, asked early.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;

use crate::config::Settings;
use crate::delivery::EndpointCheck;
use crate::notify::egress::{Egress, EgressRules};

/// The way out by the settings. Set up when it is first asked, which commands beside a server never do.
#[derive(Debug)]
pub(super) struct GuardedEndpoints {
    rules: EgressRules,
    egress: OnceLock<Option<Egress>>,
}

impl GuardedEndpoints {
    /// By these settings; `root` is this server's own base URL, which it must not call.
    pub(super) fn by(settings: &Settings, root: &str) -> Arc<dyn EndpointCheck> {
        let own = url::Url::parse(root).ok().and_then(|url| {
            let host = url.host_str()?.to_owned();
            Some((host, url.port_or_known_default()?))
        });
        let rules = EgressRules { allow: settings.egress.allow.clone(), allow_http: settings.egress.allow_http, own };
        Arc::new(Self { rules, egress: OnceLock::new() })
    }
}

#[async_trait]
impl EndpointCheck for GuardedEndpoints {
    async fn may_call(&self, url: &str) -> bool {
        let made = self.egress.get_or_init(|| {
            let egress = Egress::new(self.rules.clone());
            egress.inspect_err(|error| tracing::error!(cause = %error, "outgoing requests cannot be set up")).ok()
        });
        match made {
            Some(egress) => egress.may_call(url).await.is_ok(),
            None => false,
        }
    }
}
