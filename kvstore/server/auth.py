"""The Auth service: users, roles, tokens (etcd `server/etcdserver/v3_server.go`).

Every request goes through the log, which decides who may do what; passwords are hashed before, so that none ever stands
in it.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message

from kvstore.auth import AuthError
from kvstore.etcdpb import raft_internal_pb2
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.server import catalogue
from kvstore.server.context import CallContext
from kvstore.server.core import MemberCore

__all__ = ["AuthService"]


class AuthService:
    """etcdserverpb.Auth."""

    def __init__(self, core: MemberCore) -> None:
        self._auth = core.auth
        self._access = core.access
        self._tokens = core.tokens
        self._passwords = core.passwords
        self._proposer = core.proposer

    async def auth_enable(self, request: pb.AuthEnableRequest, context: CallContext) -> pb.AuthEnableResponse:
        """Auth.AuthEnable; harmless when it is on."""
        response: pb.AuthEnableResponse = await self._propose("auth_enable", request, context)
        return response

    async def auth_disable(self, request: pb.AuthDisableRequest, context: CallContext) -> pb.AuthDisableResponse:
        """Auth.AuthDisable; harmless when it is off."""
        response: pb.AuthDisableResponse = await self._propose("auth_disable", request, context)
        return response

    async def auth_status(self, request: pb.AuthStatusRequest, context: CallContext) -> pb.AuthStatusResponse:
        """Auth.AuthStatus, which anybody may ask for."""
        response: pb.AuthStatusResponse = await self._propose("auth_status", request, context)
        return response

    async def authenticate(self, request: pb.AuthenticateRequest, context: CallContext) -> pb.AuthenticateResponse:
        """Auth.Authenticate: a token for a name and a password."""
        await self._proposer.linearize()
        while True:
            checked_at = self._auth.revision
            try:
                hashed = self._auth.password_hash(request.name)
            except AuthError as error:
                raise catalogue.to_etcd_error(error) from None
            if not await self._passwords.matches(request.password, hashed):
                raise catalogue.AUTH_FAILED.error()
            proposed = raft_internal_pb2.InternalAuthenticateRequest(
                name=request.name, simple_token=self._tokens.new_prefix()
            )
            response: pb.AuthenticateResponse = await self._proposer.propose("authenticate", proposed)
            if self._auth.revision == checked_at:  # else the password may be another by now
                return response

    async def user_add(self, request: pb.AuthUserAddRequest, context: CallContext) -> pb.AuthUserAddResponse:
        """Auth.UserAdd."""
        proposed = pb.AuthUserAddRequest(name=request.name)
        if request.HasField("options"):
            proposed.options.CopyFrom(request.options)
        if not request.options.no_password:
            proposed.hashedPassword = await self._hashed(request.password, context)
        response: pb.AuthUserAddResponse = await self._propose("auth_user_add", proposed, context)
        return response

    async def user_get(self, request: pb.AuthUserGetRequest, context: CallContext) -> pb.AuthUserGetResponse:
        """Auth.UserGet."""
        response: pb.AuthUserGetResponse = await self._propose("auth_user_get", request, context)
        return response

    async def user_list(self, request: pb.AuthUserListRequest, context: CallContext) -> pb.AuthUserListResponse:
        """Auth.UserList."""
        response: pb.AuthUserListResponse = await self._propose("auth_user_list", request, context)
        return response

    async def user_delete(self, request: pb.AuthUserDeleteRequest, context: CallContext) -> pb.AuthUserDeleteResponse:
        """Auth.UserDelete."""
        response: pb.AuthUserDeleteResponse = await self._propose("auth_user_delete", request, context)
        return response

    async def user_change_password(
        self, request: pb.AuthUserChangePasswordRequest, context: CallContext
    ) -> pb.AuthUserChangePasswordResponse:
        """Auth.UserChangePassword."""
        proposed = pb.AuthUserChangePasswordRequest(name=request.name, hashedPassword=request.hashedPassword)
        if request.password:
            proposed.hashedPassword = await self._hashed(request.password, context)
        response: pb.AuthUserChangePasswordResponse = await self._propose(
            "auth_user_change_password", proposed, context
        )
        return response

    async def user_grant_role(
        self, request: pb.AuthUserGrantRoleRequest, context: CallContext
    ) -> pb.AuthUserGrantRoleResponse:
        """Auth.UserGrantRole."""
        response: pb.AuthUserGrantRoleResponse = await self._propose("auth_user_grant_role", request, context)
        return response

    async def user_revoke_role(
        self, request: pb.AuthUserRevokeRoleRequest, context: CallContext
    ) -> pb.AuthUserRevokeRoleResponse:
        """Auth.UserRevokeRole."""
        response: pb.AuthUserRevokeRoleResponse = await self._propose("auth_user_revoke_role", request, context)
        return response

    async def role_add(self, request: pb.AuthRoleAddRequest, context: CallContext) -> pb.AuthRoleAddResponse:
        """Auth.RoleAdd."""
        response: pb.AuthRoleAddResponse = await self._propose("auth_role_add", request, context)
        return response

    async def role_get(self, request: pb.AuthRoleGetRequest, context: CallContext) -> pb.AuthRoleGetResponse:
        """Auth.RoleGet."""
        response: pb.AuthRoleGetResponse = await self._propose("auth_role_get", request, context)
        return response

    async def role_list(self, request: pb.AuthRoleListRequest, context: CallContext) -> pb.AuthRoleListResponse:
        """Auth.RoleList."""
        response: pb.AuthRoleListResponse = await self._propose("auth_role_list", request, context)
        return response

    async def role_delete(self, request: pb.AuthRoleDeleteRequest, context: CallContext) -> pb.AuthRoleDeleteResponse:
        """Auth.RoleDelete."""
        response: pb.AuthRoleDeleteResponse = await self._propose("auth_role_delete", request, context)
        return response

    async def role_grant_permission(
        self, request: pb.AuthRoleGrantPermissionRequest, context: CallContext
    ) -> pb.AuthRoleGrantPermissionResponse:
        """Auth.RoleGrantPermission."""
        response: pb.AuthRoleGrantPermissionResponse = await self._propose(
            "auth_role_grant_permission", request, context
        )
        return response

    async def role_revoke_permission(
        self, request: pb.AuthRoleRevokePermissionRequest, context: CallContext
    ) -> pb.AuthRoleRevokePermissionResponse:
        """Auth.RoleRevokePermission."""
        response: pb.AuthRoleRevokePermissionResponse = await self._propose(
            "auth_role_revoke_permission", request, context
        )
        return response

    async def _propose(self, field: str, request: Message, context: CallContext) -> Any:
        caller = await self._access.caller(context)
        return await self._proposer.propose(field, request, caller=caller)

    async def _hashed(self, password: str, context: CallContext) -> str:
        """A password's hash, for those who may set one: for others it is not worth the work."""
        if self._auth.enabled:
            await self._proposer.linearize()  # so that nobody is refused who has just been made an administrator
            await self._access.require_admin(context)
        try:
            return await self._passwords.hash(password)
        except AuthError as error:
            raise catalogue.to_etcd_error(error) from None
