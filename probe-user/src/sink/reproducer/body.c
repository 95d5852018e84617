
static int fd_kvm, fd_vm, fds[VCPUS];

static void cannot(const char *what)
{
	fprintf(stderr, "cannot try: %s: %s\n", what, strerror(errno));
	exit(2);
}

static void cannot_for(const char *what, uint32_t id)
{
	fprintf(stderr, "cannot try: %s of vCPU %" PRIu32 ": %s\n", what, id, strerror(errno));
	exit(2);
}

static uint32_t get(const struct kvm_lapic_state *lapic, unsigned int offset)
{
	uint32_t value;

	memcpy(&value, lapic->regs + offset, sizeof(value));
	return value;
}

static void set(struct kvm_lapic_state *lapic, unsigned int offset, uint32_t value)
{
	memcpy(lapic->regs + offset, &value, sizeof(value));
}

/* A VM without memory: no vCPU of it ever runs. */
static void make_vm(void)
{
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[256];
	} cpuid = { .head = { .nent = 256 } };
	struct kvm_enable_cap wide_ids = {
		.cap = KVM_CAP_X2APIC_API,
		.args = { KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK },
	};
	size_t i;

	fd_kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (fd_kvm < 0)
		cannot("opening /dev/kvm");
	fd_vm = ioctl(fd_kvm, KVM_CREATE_VM, 0);
	if (fd_vm < 0)
		cannot("KVM_CREATE_VM");
	if (WIDE_IDS && ioctl(fd_vm, KVM_ENABLE_CAP, &wide_ids) < 0)
		cannot("KVM_CAP_X2APIC_API");
	if (ioctl(fd_vm, KVM_CREATE_IRQCHIP, 0) < 0)
		cannot("KVM_CREATE_IRQCHIP");
	if (ioctl(fd_kvm, KVM_GET_SUPPORTED_CPUID, &cpuid) < 0)
		cannot("KVM_GET_SUPPORTED_CPUID");
	for (i = 0; i < VCPUS; i++) {
		fds[i] = ioctl(fd_vm, KVM_CREATE_VCPU, (unsigned long)vcpus[i].id);
		if (fds[i] < 0)
			cannot_for("KVM_CREATE_VCPU", vcpus[i].id);
		/* Without it KVM knows no x2APIC. */
		if (ioctl(fds[i], KVM_SET_CPUID2, &cpuid) < 0)
			cannot_for("KVM_SET_CPUID2", vcpus[i].id);
	}
}

static uint32_t id_register(const struct vcpu *vcpu)
{
	int is_x2apic = (vcpu->apic_base >> 10 & 3) == 3;

	return is_x2apic && WIDE_IDS ? vcpu->apic_id : vcpu->apic_id << 24;
}

/* In the order in which they were created: which of two claimants KVM hears can depend on it. */
static void set_apics(void)
{
	struct kvm_lapic_state lapic;
	struct kvm_sregs sregs;
	size_t i;

	for (i = 0; i < VCPUS; i++) {
		if (ioctl(fds[i], KVM_GET_SREGS, &sregs) < 0)
			cannot_for("KVM_GET_SREGS", vcpus[i].id);
		sregs.apic_base = vcpus[i].apic_base;
		if (ioctl(fds[i], KVM_SET_SREGS, &sregs) < 0)
			cannot_for("KVM_SET_SREGS", vcpus[i].id);
	}
	for (i = 0; i < VCPUS; i++) {
		if (ioctl(fds[i], KVM_GET_LAPIC, &lapic) < 0)
			cannot_for("KVM_GET_LAPIC", vcpus[i].id);
		set(&lapic, 0x20, id_register(&vcpus[i]));
		set(&lapic, 0xd0, vcpus[i].ldr);
		set(&lapic, 0xe0, vcpus[i].dfr);
		set(&lapic, 0xf0, vcpus[i].svr);
		if (ioctl(fds[i], KVM_SET_LAPIC, &lapic) < 0)
			cannot_for("KVM_SET_LAPIC", vcpus[i].id);
	}
}

/* Some kernels keep another ID or LDR of an x2APIC than they are given. */
static int is_as_observed(void)
{
	struct kvm_lapic_state lapic;
	int as_observed = 1;
	size_t i;

	for (i = 0; i < VCPUS; i++) {
		const struct vcpu *vcpu = &vcpus[i];

		if (ioctl(fds[i], KVM_GET_LAPIC, &lapic) < 0)
			cannot_for("KVM_GET_LAPIC", vcpu->id);
		if (get(&lapic, 0x20) == id_register(vcpu) && get(&lapic, 0xd0) == vcpu->ldr &&
		    get(&lapic, 0xe0) == vcpu->dfr && get(&lapic, 0xf0) == vcpu->svr)
			continue;
		printf("vCPU %" PRIu32 ": this kernel keeps ID 0x%08" PRIx32 ", LDR 0x%08" PRIx32 ", DFR 0x%08" PRIx32
		       ", SVR 0x%08" PRIx32 "\n",
		       vcpu->id, get(&lapic, 0x20), get(&lapic, 0xd0), get(&lapic, 0xe0), get(&lapic, 0xf0));
		as_observed = 0;
	}
	return as_observed;
}

static void send_interrupt(void)
{
	struct kvm_msi msi = {
		.address_lo = 0xfee00000u | (DEST & 0xffu) << 12 | (LOGICAL ? 1u << 2 : 0),
		.address_hi = WIDE_IDS ? DEST & ~0xffu : 0,
		.data = VECTOR,
	};

	if (ioctl(fd_vm, KVM_SIGNAL_MSI, &msi) < 0)
		printf("KVM_SIGNAL_MSI: %s\n", strerror(errno));
}

static int is_pending_at(size_t i)
{
	struct kvm_lapic_state lapic;

	if (ioctl(fds[i], KVM_GET_LAPIC, &lapic) < 0)
		cannot_for("KVM_GET_LAPIC", vcpus[i].id);
	return get(&lapic, 0x200 + VECTOR / 32 * 0x10) >> VECTOR % 32 & 1;
}

static void list(const char *title, const char *marks)
{
	int any = 0;
	size_t i;

	printf("%-40s", title);
	for (i = 0; i < VCPUS; i++)
		if (marks[i]) {
			printf("%s%" PRIu32, any ? ", " : "vCPU ", vcpus[i].id);
			any = 1;
		}
	puts(any ? "" : "nobody");
}

int main(void)
{
	static char named[VCPUS], reached[VCPUS], pending[VCPUS];
	int as_observed, same = 1;
	size_t i;

	make_vm();
	set_apics();
	as_observed = is_as_observed();
	send_interrupt();
	for (i = 0; i < VCPUS; i++) {
		named[i] = vcpus[i].named;
		reached[i] = vcpus[i].reached;
		pending[i] = (char)is_pending_at(i);
		same &= pending[i] == reached[i];
	}
	for (i = 0; findings[i]; i++)
		printf("said there: %s\n", findings[i]);
	printf("%s destination 0x%02x, vector 0x%02x\n", LOGICAL ? "logical" : "physical", DEST, VECTOR);
	list("the architecture names", named);
	list("the observed host's KVM delivers to", reached);
	list("this kernel delivered to", pending);
	if (!as_observed) {
		puts("this kernel cannot be brought into the observed state");
		return 2;
	}
	puts(same ? "reproduced: as on the observed host" : "not as on the observed host");
	return same ? 0 : 1;
}
