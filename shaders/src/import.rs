//! Host memory as a buffer of the device, in place: `VK_EXT_external_memory_host`.
//!
//! A slot's pages are given to the driver as the memory of a Vulkan buffer, which wgpu then takes over.
//! The GPU reads and writes the very bytes that Rust and WebAssembly see; nothing is copied.

use std::sync::Arc;

use ash::vk;
use crossover_memory::Slot;
use wgpu::hal::api::Vulkan;

/// The kind of memory that is imported.
const HOST: vk::ExternalMemoryHandleTypeFlags =
    vk::ExternalMemoryHandleTypeFlags::HOST_ALLOCATION_EXT;

/// Bytes of one import that every driver takes.
const BYTES_MAX: u64 = i32::MAX as u64;

/// What buffers are used for.
pub(crate) const USAGE: wgpu::BufferUsages = wgpu::BufferUsages::STORAGE
    .union(wgpu::BufferUsages::COPY_SRC)
    .union(wgpu::BufferUsages::COPY_DST);

/// Imports slots into one device.
pub(crate) struct Importer {
    functions: ash::ext::external_memory_host::Device,
    raw: ash::Device,
    memory: vk::PhysicalDeviceMemoryProperties,
    /// Addresses and sizes are multiples of it.
    alignment: u64,
}

impl std::fmt::Debug for Importer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Importer").field("alignment", &self.alignment).finish_non_exhaustive()
    }
}

impl Importer {
    /// Whether a driver has the extension.
    pub(crate) fn is_supported(adapter: &wgpu::Adapter) -> bool {
        // SAFETY: nothing of the adapter is destroyed.
        let hal = unsafe { adapter.as_hal::<Vulkan>() };
        hal.is_some_and(|hal| {
            hal.physical_device_capabilities()
                .supports_extension(ash::ext::external_memory_host::NAME)
        })
    }

    /// Bytes of the memory that an adapter calls its own, if it is one of Vulkan's.
    pub(crate) fn device_memory_bytes(adapter: &wgpu::Adapter) -> Option<u64> {
        // SAFETY: nothing of the adapter is destroyed, and its handles are only read.
        let memory = unsafe {
            let hal = adapter.as_hal::<Vulkan>()?;
            let instance = hal.shared_instance().raw_instance();
            instance.get_physical_device_memory_properties(hal.raw_physical_device())
        };
        let heaps = memory.memory_heaps.iter().take(memory.memory_heap_count as usize);
        let own = heaps.filter(|heap| heap.flags.contains(vk::MemoryHeapFlags::DEVICE_LOCAL));
        own.map(|heap| heap.size).max()
    }

    /// Opens a device with the extension.
    pub(crate) fn open(
        adapter: &wgpu::Adapter,
        descriptor: &wgpu::DeviceDescriptor<'_>,
    ) -> Result<(wgpu::Device, wgpu::Queue, Importer), String> {
        // SAFETY: nothing of the adapter is destroyed, and the guard is dropped at the end of the block.
        let open = unsafe {
            let hal = adapter.as_hal::<Vulkan>().ok_or("the adapter is none of Vulkan's")?;
            // The callback only adds an extension that the driver has.
            hal.open_with_callback(
                descriptor.required_features,
                &descriptor.required_limits,
                &descriptor.memory_hints,
                Some(Box::new(|args| args.extensions.push(ash::ext::external_memory_host::NAME))),
            )
            .map_err(|error| error.to_string())?
        };
        // SAFETY: `open` was made by this adapter with this descriptor's features.
        let (device, queue) = unsafe { adapter.create_device_from_hal::<Vulkan>(open, descriptor) }
            .map_err(|error| error.to_string())?;
        // SAFETY: the handles are only read and cloned. What is cloned is used while the device lives:
        // by `import`, which is given the device, and before the last of its buffers is gone.
        let importer = unsafe {
            let hal = device.as_hal::<Vulkan>().ok_or("the device is none of Vulkan's")?;
            let instance = hal.shared_instance().raw_instance();
            let functions = ash::ext::external_memory_host::Device::new(instance, hal.raw_device());
            let mut host = vk::PhysicalDeviceExternalMemoryHostPropertiesEXT::default();
            let mut properties = vk::PhysicalDeviceProperties2::default().push_next(&mut host);
            instance.get_physical_device_properties2(hal.raw_physical_device(), &mut properties);
            Importer {
                functions,
                raw: hal.raw_device().clone(),
                memory: instance.get_physical_device_memory_properties(hal.raw_physical_device()),
                alignment: host.min_imported_host_pointer_alignment.max(1),
            }
        };
        Ok((device, queue, importer))
    }

    /// A slot as a buffer of `device`, the one that this was opened with, for uses in shaders and copies. The
    /// buffer holds the slot until the device is through with it.
    pub(crate) fn import(
        &self,
        device: &wgpu::Device,
        slot: &Arc<Slot>,
        usage: wgpu::BufferUsages,
    ) -> Result<wgpu::Buffer, String> {
        let bytes = (slot.bytes() as u64).next_multiple_of(self.alignment);
        if bytes == 0 || bytes > BYTES_MAX || bytes > slot.committed_bytes() as u64 {
            return Err(format!("a slot of {} bytes cannot be imported", slot.bytes()));
        }
        if !(slot.base() as u64).is_multiple_of(self.alignment) {
            return Err(format!(
                "a slot at {:p} is not aligned to {}",
                slot.base(),
                self.alignment
            ));
        }
        let memory = Imported::new(self, slot, bytes).map_err(|error| error.to_string())?;
        let buffer = memory.buffer;
        // SAFETY: the buffer is of this device, and is destroyed when the callback is, which is when wgpu
        // and the GPU are through with it. It is never mapped: its usages have no mapping.
        let hal = unsafe {
            wgpu::hal::vulkan::Buffer::from_raw_externally_owned(
                buffer,
                Box::new(move || drop(memory)),
            )
        };
        let descriptor =
            wgpu::BufferDescriptor { label: None, size: bytes, usage, mapped_at_creation: false };
        // SAFETY: the buffer was made for this size and usage by this device; its bytes are committed
        // and initialised, since a slot's pages are zero at first.
        Ok(unsafe { device.create_buffer_from_hal::<Vulkan>(hal, &descriptor) })
    }

    /// The memory type for an import, of those in `bits`: coherent, so that nothing has to be flushed,
    /// and cached, because the CPU reads it too.
    fn memory_type(&self, bits: u32) -> Option<u32> {
        let flags = |at: u32| self.memory.memory_types[at as usize].property_flags;
        let score = |at: u32| {
            let has = |flag| u32::from(flags(at).contains(flag));
            2 * has(vk::MemoryPropertyFlags::HOST_CACHED)
                + has(vk::MemoryPropertyFlags::DEVICE_LOCAL)
        };
        (0..self.memory.memory_type_count)
            .filter(|&at| bits & (1 << at) != 0)
            .filter(|&at| flags(at).contains(vk::MemoryPropertyFlags::HOST_COHERENT))
            .max_by_key(|&at| score(at))
    }
}

/// A Vulkan buffer over a slot, and what it needs. Dropped when the GPU is through with it.
struct Imported {
    raw: ash::Device,
    buffer: vk::Buffer,
    memory: vk::DeviceMemory,
    _slot: Arc<Slot>,
}

impl Imported {
    fn new(importer: &Importer, slot: &Arc<Slot>, bytes: u64) -> Result<Imported, vk::Result> {
        let raw = &importer.raw;
        let mut properties = vk::MemoryHostPointerPropertiesEXT::default();
        // SAFETY: the pointer is to memory that the slot holds; the call only asks about it.
        unsafe {
            (importer.functions.fp().get_memory_host_pointer_properties_ext)(
                raw.handle(),
                HOST,
                slot.base().cast(),
                &mut properties,
            )
            .result()?;
        }
        let mut external = vk::ExternalMemoryBufferCreateInfo::default().handle_types(HOST);
        let usage = vk::BufferUsageFlags::STORAGE_BUFFER
            | vk::BufferUsageFlags::TRANSFER_SRC
            | vk::BufferUsageFlags::TRANSFER_DST;
        let info = vk::BufferCreateInfo::default()
            .size(bytes)
            .usage(usage)
            .sharing_mode(vk::SharingMode::EXCLUSIVE)
            .push_next(&mut external);
        // SAFETY: a valid description. From here on `made` destroys what was made, whatever fails.
        let buffer = unsafe { raw.create_buffer(&info, None)? };
        let memory = vk::DeviceMemory::null();
        let mut made = Imported { raw: raw.clone(), buffer, memory, _slot: slot.clone() };
        // SAFETY: the buffer was made by this device.
        let needs = unsafe { raw.get_buffer_memory_requirements(buffer) };
        let memory_type = importer
            .memory_type(needs.memory_type_bits & properties.memory_type_bits)
            .ok_or(vk::Result::ERROR_FORMAT_NOT_SUPPORTED)?;
        let mut import = vk::ImportMemoryHostPointerInfoEXT::default()
            .handle_type(HOST)
            .host_pointer(slot.base().cast());
        let info = vk::MemoryAllocateInfo::default()
            .allocation_size(bytes)
            .memory_type_index(memory_type)
            .push_next(&mut import);
        // SAFETY: the range is committed, aligned as the driver asks, and lives as long as `made`, which
        // frees the memory first. The buffer is bound once.
        unsafe {
            made.memory = raw.allocate_memory(&info, None)?;
            raw.bind_buffer_memory(buffer, made.memory, 0)?;
        }
        Ok(made)
    }
}

impl Drop for Imported {
    fn drop(&mut self) {
        // SAFETY: this value alone owns both. wgpu drops it once no submission uses the buffer, before
        // the device goes, which its buffers hold.
        unsafe {
            self.raw.destroy_buffer(self.buffer, None);
            self.raw.free_memory(self.memory, None);
        }
    }
}
