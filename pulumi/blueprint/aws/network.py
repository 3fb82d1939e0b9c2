"""The network on AWS: nodes in private subnets, load balancers in public ones."""

from dataclasses import dataclass

from pulumi_aws import ec2

from blueprint.site import Site


@dataclass(frozen=True)
class Subnets:
    private: list[ec2.Subnet]
    public: list[ec2.Subnet]


def subnets(site: Site) -> Subnets:
    """One pair a zone. Production has a NAT gateway a zone, the others share one: a zone's failure cuts them off."""
    vpc = ec2.Vpc(
        "network",
        cidr_block="10.0.0.0/16",
        enable_dns_hostnames=True,
        enable_dns_support=True,
        tags=_named(site, site.name),
        opts=site.child(),
    )
    # What a VPC comes with lets everything in it talk to everything; nothing of ours uses it, so it is emptied.
    ec2.DefaultSecurityGroup("nobody", vpc_id=vpc.id, tags=site.tags, opts=site.child())
    door = ec2.InternetGateway("internet", vpc_id=vpc.id, tags=_named(site, site.name), opts=site.child())
    public_routes = ec2.RouteTable(
        "public",
        vpc_id=vpc.id,
        routes=[ec2.RouteTableRouteArgs(cidr_block="0.0.0.0/0", gateway_id=door.id)],
        tags=_named(site, f"{site.name}-public"),
        opts=site.child(),
    )
    public, private, tables, gateways = [], [], [], []
    for index, zone in enumerate(site.spec.zones):
        outer = ec2.Subnet(
            f"public-{zone}",
            vpc_id=vpc.id,
            availability_zone=zone,
            cidr_block=f"10.0.{192 + index}.0/24",
            map_public_ip_on_launch=False,
            tags=_named(site, f"{site.name}-public-{zone}") | {"kubernetes.io/role/elb": "1"},
            opts=site.child(),
        )
        _route(f"public-{zone}", outer, public_routes, site)
        if index == 0 or site.spec.environment == "production":
            gateways.append(_nat(zone, outer, door, site))
        table = ec2.RouteTable(
            f"private-{zone}",
            vpc_id=vpc.id,
            routes=[ec2.RouteTableRouteArgs(cidr_block="0.0.0.0/0", nat_gateway_id=gateways[-1].id)],
            tags=_named(site, f"{site.name}-private-{zone}"),
            opts=site.child(),
        )
        inner = ec2.Subnet(
            f"private-{zone}",
            vpc_id=vpc.id,
            availability_zone=zone,
            cidr_block=f"10.0.{32 * index}.0/19",
            tags=_named(site, f"{site.name}-private-{zone}") | {"kubernetes.io/role/internal-elb": "1"},
            opts=site.child(),
        )
        _route(f"private-{zone}", inner, table, site)
        public.append(outer)
        private.append(inner)
        tables.append(table)
    # Artefacts go to the bucket past the NAT gateway, which is paid by the gigabyte.
    ec2.VpcEndpoint(
        "bucket",
        vpc_id=vpc.id,
        service_name=f"com.amazonaws.{site.spec.region}.s3",
        vpc_endpoint_type="Gateway",
        route_table_ids=[table.id for table in tables],
        tags=_named(site, f"{site.name}-s3"),
        opts=site.child(),
    )
    return Subnets(private=private, public=public)


def _nat(zone: str, subnet: ec2.Subnet, door: ec2.InternetGateway, site: Site) -> ec2.NatGateway:
    address = ec2.Eip(f"egress-{zone}", domain="vpc", tags=_named(site, f"{site.name}-{zone}"), opts=site.child())
    return ec2.NatGateway(
        f"egress-{zone}",
        subnet_id=subnet.id,
        allocation_id=address.id,
        tags=_named(site, f"{site.name}-{zone}"),
        opts=site.child(after=[door]),
    )


def _route(name: str, subnet: ec2.Subnet, table: ec2.RouteTable, site: Site) -> None:
    ec2.RouteTableAssociation(name, subnet_id=subnet.id, route_table_id=table.id, opts=site.child())


def _named(site: Site, name: str) -> dict[str, str]:
    return {**site.tags, "Name": name}
