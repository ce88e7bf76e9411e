"""Documents of the Transfer API about collections, field for field as the SDK's recorded answers have them."""

from __future__ import annotations

import time
from typing import Any

from nodexfer.sandbox.model import Endpoint
from nodexfer.sandbox.storage import Stat
from nodexfer.sandbox.world import World

Document = dict[str, Any]

#: Fields of the endpoint document that mean nothing in the sandbox, as a collection has them that does not use them.
_UNUSED: Document = {
    "acl_available": False,
    "acl_editable": False,
    "activated": True,
    "authentication_policy_id": None,
    "authentication_timeout_mins": None,
    "contact_email": None,
    "contact_info": None,
    "department": None,
    "description": None,
    "disable_anonymous_writes": False,
    "disable_verify": False,
    "expire_time": None,
    "expires_in": -1,
    "force_encryption": False,
    "force_verify": False,
    "french_english_bilingual": False,
    "gcs_manager_url": None,
    "gcs_version": None,
    "globus_connect_setup_key": None,
    "high_assurance": False,
    "host_endpoint": None,
    "host_endpoint_display_name": None,
    "host_endpoint_id": None,
    "host_path": None,
    "https_server": None,
    "in_use": False,
    "info_link": None,
    "is_go_storage": False,
    "keywords": None,
    "last_accessed_time": None,
    "local_user_info_available": None,
    "location": None,
    "mapped_collection_display_name": None,
    "mapped_collection_id": None,
    "max_concurrency": None,
    "max_parallelism": None,
    "mfa_required": False,
    "myproxy_dn": None,
    "myproxy_server": None,
    "network_use": None,
    "non_functional": False,
    "non_functional_endpoint_display_name": None,
    "non_functional_endpoint_id": None,
    "oauth_server": None,
    "organization": None,
    "preferred_concurrency": None,
    "preferred_parallelism": None,
    "requester_pays": False,
    "s3_owner_activated": False,
    "s3_url": None,
    "shareable": True,
    "sharing_target_endpoint": None,
    "sharing_target_root_path": None,
    "storage_type": None,
    "subscription_admin_verified": None,
    "tlsftp_server": None,
    "user_message": None,
    "user_message_link": None,
}


def endpoint(found: Endpoint, world: World, caller: str) -> Document:
    """The endpoint document (Transfer API, endpoint)."""
    gcp = found.kind == "gcp"
    owner = world.accounts.identity(found.owner)
    connected = world.catalog.said_connected(found) if gcp else None
    return {
        **_UNUSED,
        **found.details,
        "DATA_TYPE": "endpoint",
        "id": found.id,
        "name": f"{owner.username if owner else found.owner}#{found.id}",
        "canonical_name": f"{owner.username if owner else found.owner}#{found.id}",
        "display_name": found.display_name,
        "owner_id": found.owner,
        "owner_string": owner.username if owner else found.owner,
        "username": owner.username if owner else found.owner,
        "entity_type": "GCP_mapped_collection" if gcp else "GCSv5_mapped_collection",
        "public": found.public,
        "is_globus_connect": gcp,
        "gcp_connected": connected,
        "gcp_paused": world.relay.paused(found.id) if gcp else None,
        "globus_connect_setup_key": _shown_key(found, world, caller),
        "subscription_id": found.subscription_id,
        "default_directory": found.default_directory,
        "my_effective_roles": ["administrator"] if found.owner == caller else [],
        "DATA": [_server(found, connected)],
    }


def _shown_key(found: Endpoint, world: World, caller: str) -> str | None:
    shown = found.owner == caller and (not found.set_up or world.faults.switches.show_used_key)
    return found.setup_key if shown else None


def _server(found: Endpoint, connected: bool | None) -> Document:
    """The one server of an endpoint."""
    gcp = found.kind == "gcp"
    return {
        "DATA_TYPE": "server",
        "hostname": None if gcp else "127.0.0.1",
        "id": 1,
        "incoming_data_port_end": None,
        "incoming_data_port_start": None,
        "is_connected": True if connected is None else connected,
        "is_paused": False,
        "outgoing_data_port_end": None,
        "outgoing_data_port_start": None,
        "port": None if gcp else 443,
        "scheme": None if gcp else "gsiftp",
        "subject": f"/C=US/O=Globus Consortium/OU=Globus Connect Service/CN={found.id}" if gcp else None,
        "uri": None if gcp else "gsiftp://127.0.0.1:443",
    }


def file(found: Stat) -> Document:
    """One file of a listing, or the answer of stat. What a link points to is what is described."""
    link = found.link_target is not None
    modified = time.strftime("%Y-%m-%d %H:%M:%S+00:00", time.gmtime(found.modified))
    return {
        "DATA_TYPE": "file",
        "name": found.name,
        "type": found.type,
        "size": found.size,
        "last_modified": modified,
        "permissions": f"{found.mode & 0o7777:04o}",
        "user": found.user,
        "group": found.group,
        "link_target": found.link_target,
        "link_user": found.user if link else None,
        "link_group": found.group if link else None,
        "link_last_modified": modified if link else None,
        "link_size": len(found.link_target or "") if link else None,
    }
